"""Every component id, as plain strings. Tests, links and scripts depend on the first group."""

from __future__ import annotations

MODEL = "model"
TEXT = "text"
TEXT_PAIR = "text-pair"
CHAT = "chat"
RUN = "run"
CANCEL = "cancel"
PROGRESS = "progress"
NOTICE = "notice"
OUTDATED = "outdated"
TOKENS = "tokens"
LAYER = "layer"
HEAD = "head"
ATTENTION_HEADS = "attention-heads"
SUBMITTED_RUN = "submitted-run"
PROPOSAL = "proposal"
SELECTION = "selection"
RUN_INFO = "run-info"

ADDRESS = "address"
CATALOG = "catalog"
CONTROLS = "controls"
LARGE = "large"
EXAMPLES = "examples"
DERIVED_PROGRESS = "derived-progress"
DERIVED_REQUEST = "derived-request"
DERIVED_RESULT = "derived-result"
FORM_STATE = "form-state"
TOKENIZER = "tokenizer"
TOKENIZER_BOX = "tokenizer-box"
MODEL_STATE = "model-state"
ARRIVED = "arrived"
PROGRESS_STATE = "progress-state"
TRAVEL = "travel"

# used only by the browser's code (assets/)
ADD_PAIR = "add-pair"
ANNOUNCER = "announcer"
CARDS = "cards"
CHAT_BOX = "chat-box"
CHAT_HELP = "chat-help"
CLEAR_SECOND = "clear-second"
ADDED = "added"
LINES_LEGEND = "lines-legend"
ADDED_ITEMS = "added-items"
CLEAR_ADDED = "clear-added"
COMPOSER = "composer"
COPY_LINK = "copy-link"
EDIT_PAIR = "edit-pair"
EDIT_TEXT = "edit-text"
EXPORT_MENU = "export-menu"
EXAMPLES_CARD = "examples-card"
HEADS_TITLE = "attention-heads-title"
HEADS_LEGEND = "attention-heads-legend"
HEADS_NOTE = "attention-heads-note"
KEYS = "keys"
OPEN_TAB = "open-tab"
NOT_RUN = "not-run"
ONE_HEAD_PATTERN = "one-head-pattern"
PAGE = "page"
READING_LINE = "reading-line"
RECENT = "recent"
RECENT_SLOT = "recent-slot"
RECENT_PANEL = "recent-dialog"
RECENT_TITLE = "recent-title"
RECENT_TOP = "recent-top"
RECENT_ROWS = "recent-rows"
RECENT_SAID = "recent-said"
RUN_FILE = "run-file"
RUN_FILE_SAID = "run-file-said"
REDO = "redo"
REMOVE_PAIR = "remove-pair"
SECOND_COMPOSER = "second-composer"
SECOND_TOKEN = "second-token"
SELECTED_TOKEN = "selected-token"
SELECTION_BAR = "selection-bar"
SHOWN_TEXT = "shown-text"
STRIP_CAPTION = "strip-caption"
STRIP_LEGEND = "strip-legend"
STRIP_CLASSES = "strip-classes"
STRIP_TITLE = "strip-title"
STRIP_MARKS = "strip-marks"
THEME_SWITCH = "theme-switch"
TOKEN_COUNT = "token-count"
TOOLTIP = "tooltip"
TOUR = "tour"
TOUR_START = "tour-start"
UNDO = "undo"


def card_id(card: str) -> str:
    """The id of a card."""
    return f"{card}-card"


def tabs_id(card: str) -> str:
    """The id of a card's row of tabs."""
    return f"{card}-tabs"


def tab_id(card: str, view: str) -> str:
    """The id of one tab."""
    return f"{card}-tab-{view}"


def panel_id(view: str) -> str:
    """The id of a tab's panel."""
    return f"{view}-panel"


def graph_id(view: str) -> str:
    """The id of a view's graph."""
    return f"{view}-graph"


def late_id(view: str) -> str:
    """The id of the element that receives a view's component when its tab is first opened."""
    return f"{view}-late"


def picked_id(view: str) -> str:
    """The id of the store that holds what was selected in a view's figure."""
    return f"{view}-picked"


def control_id(view: str, control: str) -> str:
    """The id of one control in a card's options."""
    return f"{view}-{control}"
