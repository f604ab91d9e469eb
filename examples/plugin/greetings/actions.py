"""Three ways to write an action. None of them imports anything of Celeriac."""


def greet(name: str, greeting: str = "Hello") -> str:
    """Greets somebody."""
    if not name.strip():
        raise ValueError("somebody without a name cannot be greeted")
    return f"{greeting}, {name}!"


def ask(question: str, *, context=None) -> None:
    """Asks a question that a person answers later, by reporting the action's result."""
    print(f"{question} Answer with PUT {context.callback_url}")


# Returning means that the question is asked, not that it is answered.
ask.asynchronous = True


class Post:
    """Posts a letter: a class as Mistral has them works unchanged."""

    def __init__(self, to, text="", express=False):
        self.to = to
        self.text = text
        self.express = express

    def run(self, context):
        return {
            "to": self.to,
            "days": 1 if self.express else 3,
            "sent_by": context.execution.workflow_name,
        }

    def is_sync(self):
        return True
