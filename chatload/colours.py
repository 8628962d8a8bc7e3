"""Colours: those of the pages, by role, in the light and in the dark scheme."""

from __future__ import annotations

# Role: (light, dark). Series colours keep their hue in both, and tell apart for the colour-blind (after Okabe and Ito).
COLOURS = {
    "surface": ("#ffffff", "#12161b"),
    "text": ("#1c2128", "#e3e8ee"),
    "muted": ("#59636e", "#9da7b3"),
    "grid": ("#d8dee5", "#333b45"),
    "blue": ("#0067a5", "#5cb3ec"),
    "pale": ("#c3dcee", "#23455e"),
    "green": ("#00785a", "#3ecfa4"),
    "red": ("#c14a00", "#ff9a52"),
    "purple": ("#8f3f97", "#dc9ae3"),
    "grey": ("#6b7580", "#8b96a3"),
    **{
        f"heat{step}": pair
        for step, pair in enumerate(
            zip(
                ("#dbe9f6", "#bad6eb", "#89bedc", "#539ecd", "#2b7bba", "#0b559f", "#08306b"),
                ("#15304a", "#17466e", "#1c6093", "#2b7fb8", "#4fa3d6", "#8cc8ec", "#d7effc"),
                strict=True,
            )
        )
    },
}
