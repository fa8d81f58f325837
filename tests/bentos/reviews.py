"""Reviews, and how many of their tokens the test models read."""

MAX_TOKENS = 64
WINDOWS = 2
REVIEWS = [
    "A warm, funny and beautifully acted film that stays with you for days.",
    "The plot makes no sense and the jokes fall flat from the first scene.",
    "I laughed, I cried, and I want to see it again.",
    "Two hours of my life that I will never get back.",
    "The photography is gorgeous, but the story goes nowhere.",
    "Not bad at all.",
    "An instant classic, with a lead performance for the ages, a script that never wastes a word, and a score"
    " that lifts every scene it touches; go and see it on the largest screen that you can find.",
    "Dull.",
    "The sequel that nobody asked for, made by people who did not care.",
    "A clever thriller which keeps its best surprise for the very last minute.",
    "It tries hard to be moving and ends up merely long.",
    "Wonderful!",
]
