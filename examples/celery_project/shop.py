"""An existing Celery project: its own application, queue and tasks. It knows nothing of Celeriac.

SHOP_BROKER_URL=redis://... celery -A shop worker -Q shop
"""

import os
import time
from datetime import UTC, datetime
from decimal import Decimal

from celery import Celery

app = Celery("shop", broker=os.environ.get("SHOP_BROKER_URL", "redis://127.0.0.1:6379/0"))
app.conf.task_default_queue = "shop"


@app.task
def reserve(sku, quantity=1):
    """Put goods aside."""
    return {"sku": sku, "quantity": quantity, "at": datetime.now(UTC)}  # noqa: TID251


@app.task
def price(sku, quantity=1):
    """What it costs."""
    return Decimal("9.90") * quantity


class CardDeclined(Exception):
    """The bank says no."""


@app.task
def charge(card, amount):
    """Take the money."""
    if card.startswith("0"):
        raise CardDeclined(f"the card {card[:4]}... was declined")
    return {"charged": amount}


@app.task(bind=True, max_retries=3)
def ship(self, sku, succeed_at=2):
    """Hand over to the carrier, who does not always answer the first time."""
    if self.request.retries < succeed_at:
        raise self.retry(countdown=0.2)
    return f"parcel with {sku} after {self.request.retries} retries"


@app.task
def release(sku):
    """Put goods back."""
    return f"{sku} is free again"


@app.task
def count_stock(seconds=60):
    """Takes long."""
    time.sleep(seconds)
    return "counted"
