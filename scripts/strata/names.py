"""The vocabulary: names that studies, files and options hold, and their words for a reader.

Everything else reads them here; the order is the order of display. Imports nothing.
"""

# How a layer is read. What each does stands in models/lens.py.
REFERENCE, RAW, NORMED = "reference", "raw", "normed"
LENSES = {REFERENCE: "reference lens", RAW: "raw lens", NORMED: "normed lens"}

# What is made of the choices' log-probabilities (measures/metrics.py).
MC1, MC2, MC3 = "mc1", "mc2", "mc3"
MC1_TOKENS, MC1_BYTES, MC1_CHARS = "mc1_tokens", "mc1_bytes", "mc1_chars"
MC1_PMI, MC1_BLIND = "mc1_pmi", "mc1_blind"
METRICS = {
    MC1: "MC1",
    MC2: "MC2",
    MC3: "MC3",
    MC1_TOKENS: "MC1 per token",
    MC1_BYTES: "MC1 per byte",
    MC1_CHARS: "MC1 per character",
    MC1_PMI: "MC1 by PMI",
    MC1_BLIND: "MC1 without the question",
}
BLIND = (MC1_PMI, MC1_BLIND)  # of choices asked without the question too (extraction/blind.py)

# Probes (measures/probes.py); the features they are fitted on, what they read, and the labels they
# are given.
RIDGE, MEANS, CONDITIONAL = "ridge", "means", "conditional"
PROBES = {RIDGE: "ridge probe", MEANS: "means probe", CONDITIONAL: "conditional probe"}
FEATURES = ("order", "surface", "input", "residual")
TARGETS = ("correct", "result", "digit", "operation")
LABELS = ("true", "redrawn", "excess", "increment", "types")

# Languages of answers. The paper translated them from English into the others.
ENGLISH, SPANISH, FRENCH, CHINESE, THAI = "en", "es", "fr", "zh", "th"
TRANSLATIONS = {SPANISH: "Spanish", FRENCH: "French", CHINESE: "Chinese", THAI: "Thai"}
LANGUAGES = {ENGLISH: "English", **TRANSLATIONS}

# Calculation: kinds of numbers, digits of the operands, operations.
KINDS = {"int": "Integer", "float": "Floating point"}
DIGITS = ("1-2", "3-4", "5-6")
ADD, SUB, MUL, DIV, MIX2, MIX3 = "add", "sub", "mul", "div", "mix2", "mix3"
OPERATIONS = {ADD: "Add", SUB: "Sub", MUL: "Mul", DIV: "Div", MIX2: "Mix-2", MIX3: "Mix-3"}

# What the paper's claims are of (measures/claims.py): a source of tasks is of one, or of none.
FACTS, ARITHMETIC, REASONING = "facts", "calculation", "reasoning"
TRUTHFULNESS, MULTILINGUAL = "truthfulness", "multilingual"
ABILITIES = (FACTS, ARITHMETIC, REASONING, TRUTHFULNESS, MULTILINGUAL)

SUBTASKS = {"all": "All", **KINDS, **LANGUAGES}

# Forms of a user's own file (tasks/rows.py); what its labels are (tasks/labels.py); why a row of it
# cannot be asked, how one is asked, and what a template makes of a text (tasks/own.py).
JSONL, JSON, CSV, TSV = "jsonl", "json", "csv", "tsv"
PARQUET, ARROW = "parquet", "arrow"
BLOCKS = "blocks"
FORMS = (JSONL, JSON, CSV, TSV, BLOCKS, PARQUET, ARROW)
FLAGS, FLAGS1, INDEX, INDEX1 = "flags", "flags1", "index", "index1"
LETTER, KEY, TEXT = "letter", "key", "text"
LABELINGS = {
    FLAGS: "flags, one a choice, the best of them counted from 0",
    FLAGS1: "flags, one a choice, the best of them counted from 1",
    INDEX: "an index, counted from 0",
    INDEX1: "an index, counted from 1",
    LETTER: "a letter from A",
    KEY: "what the row calls a choice",
    TEXT: "the text of a choice",
}
ALL_RIGHT, NONE_RIGHT, ONE_CHOICE = "all right", "none right", "one choice"
EMPTY, NO_LABEL, CONTRADICTION = "empty", "no label", "contradiction"
SKIPS = (ALL_RIGHT, NONE_RIGHT, ONE_CHOICE, EMPTY, NO_LABEL, CONTRADICTION)
CLOZE, LETTERED, STATEMENTS = ASKED = ("cloze", "lettered", "statements")
# What a question may be asked anew with (measures/variants.py).
PROMPT, PLACE = "prompt", "place"
VARIANTS = {PROMPT: "prompt", PLACE: "place of the right answer"}

# What of a set's own leaks an item may have (tasks/leaks.py).
DEMONSTRATED, DEMONSTRATED_OTHERWISE = "demonstrated", "demonstrated_otherwise"
FALSE_ELSEWHERE, MIRRORED = "false_is_true_elsewhere", "mirrored"
LEAKS = {
    DEMONSTRATED: "demonstrated in the prompt",
    DEMONSTRATED_OTHERWISE: "demonstrated, with another answer",
    FALSE_ELSEWHERE: "false choice true elsewhere",
    MIRRORED: "mirrored in another item",
}

# What readers take that know no model and no question (tasks/leaks.py).
LONGEST, SHORTEST, FREQUENT = "longest", "shortest", "frequent"
HEURISTICS = {
    LONGEST: "the longest choice",
    SHORTEST: "the shortest choice",
    FREQUENT: "the choice that is the best answer to most items of other groups",
}

# The token whose residual stream is dumped.
CHOICE_END, PROMPT_END = "choice_end", "prompt_end"
POSITIONS = (CHOICE_END, PROMPT_END)

# Settings of an extraction: items longer than the model's context, the model's dtype, what
# one job holds.
OVERLONG = ("error", "skip", "run")
DTYPES = ("auto", "float32", "bfloat16")
JOBS = ("task", "model")

# The paper's models, as data/published names them.
PUBLISHED_MODELS = ("LLaMA-2-7B", "LLaMA-2-13B", "LLaMA-2-70B")
