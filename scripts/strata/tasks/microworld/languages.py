"""How a worked answer is written in each language.

A step stands for `23 + 14 = 37` with the thing counted; the wording depends on the operation.
Only numbers of two and more are written, so every noun is in the plural where there is one.
Chinese and Thai put a classifier to the number; Thai names the thing before the calculation.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from strata.names import CHINESE, FRENCH, SPANISH, THAI
from strata.tasks.microworld.forms import words


@dataclass(frozen=True)
class Language:
    """instruction: how the answer is asked for (in English, as the questions are).

    steps: the only step, by its sign. first, second: the two steps of a longer answer.
    conclusion. Fields: {e} the equation, {n} the noun, {c} the classifier, {v} the value.
    """

    instruction: str
    steps: dict[str, str]
    first: str
    second: str
    conclusion: str
    nouns: Sequence[str]
    classifiers: Sequence[str] = ()


# One position, one thing, in every language.
ENGLISH = Language(
    "Answer the question step by step.",
    {
        "+": "Now there are {e} {n}.",
        "-": "That leaves {e} {n}.",
        "*": "In all there are {e} {n}.",
        "/": "Each gets {e} {n}.",
    },
    "First {e}.",
    " Then {e} {n}.",
    " The answer is {v}.",
    words(
        "apples plums eggs books candles cups stones shells flowers keys hats chairs ribbons coins"
    ),
)

LANGUAGES = {
    SPANISH: Language(
        "Answer the question step by step in Spanish.",
        {
            "+": "Ahora hay {e} {n}.",
            "-": "Quedan {e} {n}.",
            "*": "En total hay {e} {n}.",
            "/": "A cada uno le tocan {e} {n}.",
        },
        "Primero, {e}.",
        " Después, {e} {n}.",
        " La respuesta es {v}.",
        words(
            "manzanas ciruelas huevos libros velas tazas piedras conchas flores "
            "llaves sombreros sillas cintas monedas"
        ),
    ),
    FRENCH: Language(
        "Answer the question step by step in French.",
        {
            "+": "Il y a maintenant {e} {n}.",
            "-": "Il reste {e} {n}.",
            "*": "Il y a en tout {e} {n}.",
            "/": "Chacun reçoit {e} {n}.",
        },
        "D'abord, {e}.",
        " Ensuite, {e} {n}.",
        " La réponse est {v}.",
        words(
            "pommes prunes œufs livres bougies tasses pierres coquillages fleurs "
            "clés chapeaux chaises rubans pièces"
        ),
    ),
    CHINESE: Language(
        "Answer the question step by step in Chinese.",
        {
            "+": "现在有 {e} {c}{n}。",
            "-": "还剩 {e} {c}{n}。",
            "*": "一共有 {e} {c}{n}。",
            "/": "每人分到 {e} {c}{n}。",
        },
        "首先，{e}。",
        "然后，{e} {c}{n}。",
        "答案是 {v}。",
        words("苹果 李子 鸡蛋 书 蜡烛 杯子 石头 贝壳 花 钥匙 帽子 椅子 丝带 硬币"),
        words("个 个 个 本 支 个 块 个 朵 把 顶 把 条 枚"),
    ),
    THAI: Language(
        "Answer the question step by step in Thai.",
        {
            "+": "ตอนนี้มี{n} {e} {c}",
            "-": "เหลือ{n} {e} {c}",
            "*": "มี{n}ทั้งหมด {e} {c}",
            "/": "แต่ละคนได้{n} {e} {c}",
        },
        "ขั้นแรก {e}",
        " จากนั้นจะได้{n} {e} {c}",
        " คำตอบคือ {v}",
        words("แอปเปิล ลูกพลัม ไข่ หนังสือ เทียน ถ้วย ก้อนหิน เปลือกหอย ดอกไม้ กุญแจ หมวก เก้าอี้ ริบบิ้น เหรียญ"),
        words("ผล ผล ฟอง เล่ม เล่ม ใบ ก้อน ชิ้น ดอก ดอก ใบ ตัว เส้น เหรียญ"),
    ),
}
