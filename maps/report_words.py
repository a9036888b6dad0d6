"""Fixed words of the report in Russian, Kazakh and English."""

from __future__ import annotations

from typing import Final

WORDS: Final[dict[str, tuple[str, str, str]]] = {
    "route": ("Заявленный маршрут", "Мәлімделген маршрут", "Declared route"),
    "corridor": ("Коридор", "Дәліз", "Corridor"),
    "zones": ("Зоны", "Аймақтар", "Zones"),
    "posts": ("Посты", "Бекеттер", "Posts"),
    "track_gps": ("Трек машины", "Көлік жолы", "Track of the vehicle"),
    "track_seal": ("Трек пломбы", "Пломба жолы", "Track of the seal"),
    "anomalies": ("Аномалии", "Ауытқулар", "Anomalies"),
    "facts": ("Сведения", "Мәліметтер", "Facts"),
    "reasons": ("Основания оценки риска", "Тәуекелді бағалау негіздері", "Reasons for the risk"),
    "sum": ("Сумма", "Қосынды", "Sum"),
    "none": ("Аномалий нет.", "Ауытқу жоқ.", "No anomalies."),
    "ongoing": ("продолжается", "жалғасуда", "still going on"),
    "retracted": ("отозвана", "қайтарып алынды", "retracted"),
    "kmh": ("км/ч", "км/сағ", "km/h"),
    "departure": ("Отправление", "Жөнелту", "Departure"),
    "destination": ("Назначение", "Межелі", "Destination"),
    "made": ("Составлен", "Жасалған уақыты", "Made"),
    "zone_note": (
        "Время Казахстана (UTC+5)",
        "Қазақстан уақыты (UTC+5)",
        "Kazakhstan time (UTC+5)",
    ),
    "credits": (
        "Границы: Natural Earth (world-atlas). Схематично.",
        "Шекаралар: Natural Earth (world-atlas). Сызбалық.",
        "Borders: Natural Earth (world-atlas). Schematic.",
    ),
}
_ORDER: Final = {"ru": 0, "kk": 1, "en": 2}


def word(key: str, locale: str) -> str:
    """A fixed word; Russian for a language that the product does not speak."""
    return WORDS[key][_ORDER.get(locale, 0)]
