"""The label page: a person looks at the teachers' labels, two a second, from the keyboard."""

from pocketvlm.review.review import review

__all__ = ["review"]
