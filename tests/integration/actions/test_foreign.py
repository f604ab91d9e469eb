"""Tasks of a user's own Celery application, on a worker of its own, as steps of workflows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import select

from app.models import ActionExecution
from app.services import executions
from app.services.actors import Actor
from app.services.outbox import unit_of_work
from tests.processes import ROOT, Worker, wait_for
from tests.servers import redis_server
from tests.system import System

SHOP = ROOT / "examples" / "celery_project"


@contextmanager
def installation(folder: Path, database_url: str, redis_url: str, **urls: str) -> Iterator[System]:
    """An engine; nothing else is needed for tasks of other applications."""
    system = System(folder, database_url=database_url, redis_url=redis_url, **urls)
    try:
        system.start("engine")
        yield system
    except BaseException:
        print(system.logs())
        raise
    finally:
        system.stop()


@pytest.fixture
def system(tmp_path: Path, sqlite_url: str, clean_redis_url: str) -> Iterator[System]:
    with installation(tmp_path, sqlite_url, clean_redis_url) as system:
        yield system


@pytest.fixture
def on_rabbitmq(
    tmp_path: Path, sqlite_url: str, clean_redis_url: str, rabbitmq_url: str
) -> Iterator[System]:
    """The same with RabbitMQ as the broker of everybody."""
    urls = {"CELERIAC_BROKER_URL": rabbitmq_url, "CELERIAC_REDIS_URL": clean_redis_url}
    with installation(tmp_path, sqlite_url, clean_redis_url, **urls) as system:
        yield system


@contextmanager
def shop(
    system: System, *, application: str = "shop", queue: str = "shop", files: Path = SHOP
) -> Iterator[Worker]:
    """A worker of the example project, which knows nothing of us."""
    environment = {
        "SHOP_BROKER_URL": system.config.broker_url,
        "PYTHONPATH": f"{files}:{SHOP}:{ROOT / 'bridge'}",
    }
    with ExitStack() as stack:
        log = system.directory / f"{application}-{queue}.log"
        worker = Worker(
            [
                "celery",
                "-A",
                application,
                "worker",
                "-Q",
                queue,
                "-c",
                "2",
                "-l",
                "INFO",
                "-n",
                f"{queue}@test",
            ],
            environment,
            log,
        )
        stack.callback(worker.file.close)
        stack.callback(worker.kill_all)
        wait_for(lambda: "ready." in worker.output(), what=worker.output)
        yield worker


def one_task(action: str, **input: Any) -> str:
    given = "".join(f"\n              {name}: {value!r}" for name, value in input.items())
    return f"""
    version: '2.0'
    w:
      output: {{result: <% task(t).result %>}}
      output-on-error: {{result: <% task(t).result %>}}
      tasks:
        t:
          action: {action}
          input:{given or " {}"}
    """


def finish(system: System, definition: str, seconds: float = 30) -> tuple[str, Any]:
    """Run a workflow of one task; its state and the task's result."""
    system.define(definition)
    [execution] = system.finished(system.run("w"), seconds=seconds)
    return execution.state, execution.output["result"]


def test_a_project_of_its_own_is_orchestrated_without_touching_it(system: System):
    system.define((SHOP / "order.yaml").read_text())
    with shop(system):
        good = system.run("order", {"sku": "chair", "quantity": 2, "card": "4111"})
        bad = system.run("order", {"sku": "table", "card": "0000"})
        good_one, bad_one = system.finished(good, bad)
    assert (good_one.state, good_one.output) == (
        "SUCCESS",
        {"parcel": "parcel with chair after 2 retries", "amount": "19.80"},
    )
    assert bad_one.state == "ERROR"


def test_a_failure_without_the_bridge_says_how_to_learn_more(system: System):
    with shop(system):
        state, result = finish(
            system, one_task("celery.shop.charge", queue="shop", card="0", amount=1)
        )
    assert state == "ERROR"
    assert "The Celery task 'shop.charge' failed" in result
    assert "install celeriac-bridge" in result


def test_the_bridge_tells_the_exception_and_its_traceback(system: System, tmp_path: Path):
    with bridged(system, tmp_path):
        state, result = finish(
            system, one_task("celery.shop.charge", queue="shop", card="0123", amount=1)
        )
    assert state == "ERROR"
    assert result["error"] == "CardDeclined"
    assert result["message"] == "the card 0123... was declined"
    assert "raise CardDeclined" in result["traceback"]


def test_the_bridge_gives_signs_of_life_and_progress(system: System, tmp_path: Path):
    ledger = system.platform.ledger
    system.define(one_task("celery.tell", queue="shop", seconds=60))
    with bridged(system, tmp_path):
        execution = system.run("w")
        action = wait_for(lambda: action_of(system, execution))
        progress = wait_for(lambda: ledger.progress(action))
    assert progress == {"fraction": 0.5, "note": "half"}
    assert type(ledger.look([action])[action]).__name__ == "Claimed"


def test_a_name_that_no_worker_knows_fails_and_the_known_ones_are_told(system: System):
    with shop(system):
        state, result = finish(system, one_task("celery.shop.chrge", queue="shop"))
    assert state == "ERROR"
    assert "'shop.chrge' is not registered on the workers of queue 'shop' (shop@test)" in result
    assert "shop.charge, shop.count_stock" in result


def test_a_queue_without_workers_fails_and_the_queue_is_told(system: System):
    system.define(one_task("celery.shop.charge", queue="shpo", card="4", amount=1))
    with shop(system):
        execution = system.run("w")
        action = wait_for(lambda: action_of(system, execution))
        wait_for(lambda: system.client.llen("shpo"))
        age(system, action, seconds=70)
        [found] = system.finished(execution)
    assert found.state == "ERROR"
    assert "No worker listens on the queue 'shpo' for the Celery task 'shop.charge'" in str(
        found.output
    )
    assert "Queues with workers: " in str(found.output)
    # Nobody shall run it after all.
    assert system.client.llen("shpo") == 0


def test_a_message_is_taken_back_from_a_broker_in_a_redis_of_its_own(
    tmp_path: Path, sqlite_url: str, clean_redis_url: str
):
    with redis_server() as broker:
        urls = {"CELERIAC_BROKER_URL": broker.url, "CELERIAC_REDIS_URL": clean_redis_url}
        with (
            installation(tmp_path, sqlite_url, clean_redis_url, **urls) as system,
            redis.Redis.from_url(broker.url) as client,
        ):
            system.define(one_task("celery.shop.charge", queue="shpo", card="4", amount=1))
            execution = system.run("w")
            action = wait_for(lambda: action_of(system, execution))
            wait_for(lambda: client.llen("shpo"))
            age(system, action, seconds=70)
            [found] = system.finished(execution)
            assert found.state == "ERROR"
            assert "No worker listens on the queue 'shpo'" in str(found.output)
            assert client.llen("shpo") == 0


def test_a_task_whose_worker_died_is_told_lost(system: System):
    system.define(one_task("celery.shop.count_stock", queue="shop"))
    with shop(system) as worker:
        execution = system.run("w")
        wait_for(lambda: "received" in worker.output())
        worker.kill_all()
    [found] = system.finished(execution, seconds=60)
    assert found.state == "ERROR"
    assert "no worker knows of it any more" in str(found.output)


def test_a_task_that_takes_long_is_left_alone(system: System):
    system.define(one_task("celery.shop.count_stock", queue="shop", seconds=12))
    with shop(system):
        execution = system.run("w")
        [found] = system.finished(execution, seconds=30)
    assert (found.state, found.output) == ("SUCCESS", {"result": "counted"})


def test_a_worker_that_answers_too_late_is_not_taken_to_know_nothing(
    system: System, tmp_path: Path
):
    (tmp_path / "slow.py").write_text(
        "import time\n"
        "from celery.worker.control import inspect_command\n"
        "from shop import app\n"
        "@inspect_command()\n"
        "def registered(state, **_):\n"
        "    time.sleep(1.5)\n"
        "    return []\n"
        "active = inspect_command(name='active')(registered)\n"
    )
    system.define(one_task("celery.shop.count_stock", queue="shop", seconds=14))
    with shop(system, application="slow", files=tmp_path):
        execution = system.run("w")
        [found] = system.finished(execution, seconds=40)
    assert (found.state, found.output) == ("SUCCESS", {"result": "counted"})


def test_wrong_input_is_an_error_of_the_task(system: System):
    state, result = finish(system, one_task("celery.shop.charge", args="4"))
    assert state == "ERROR"
    assert result == "args: expected a list, got str"


def test_cancelling_ends_the_task_in_its_worker(system: System):
    system.define(one_task("celery.shop.count_stock", queue="shop", seconds=60))
    with shop(system) as worker:
        execution = system.run("w")
        wait_for(lambda: "received" in worker.output())
        with unit_of_work(system.platform.database, system.platform.broker) as session:
            executions.stop(
                session,
                system.platform,
                Actor(),
                execution,
                state="CANCELLED",
                message="enough",
            )
        wait_for(lambda: "Terminating" in worker.output(), what=worker.output)
    assert system.states() == {"CANCELLED": 1}


def test_all_of_it_over_rabbitmq(on_rabbitmq: System, tmp_path: Path):
    system = on_rabbitmq
    system.define((SHOP / "order.yaml").read_text())
    with bridged(system, tmp_path) as worker:
        good = system.run("order", {"sku": "chair", "quantity": 2, "card": "4111"})
        [good_one] = system.finished(good)
        assert good_one.output == {
            "parcel": "parcel with chair after 2 retries",
            "amount": "19.80",
        }
        _, failed = finish(
            system, one_task("celery.shop.charge", queue="shop", card="0123", amount=1)
        )
        assert failed["error"] == "CardDeclined"
        _, unknown = _finish_other(system, "celery.shop.chrge")
        assert "'shop.chrge' is not registered on the workers of queue 'shop'" in unknown
        system.define(
            one_task("celery.tell", queue="shop", seconds=60).replace("    w:", "    long:")
        )
        lost = system.run("long")
        action = wait_for(lambda: action_of(system, lost))
        # Killed sooner, the message would be back in its queue and wait for another worker.
        wait_for(lambda: system.platform.ledger.progress(action), what=worker.output)
        worker.kill_all()
    [found] = system.finished(lost, seconds=60)
    assert "no worker knows of it any more" in str(found.output)
    assert "Exception in thread" not in system.logs()


def _finish_other(system: System, action: str) -> tuple[str, Any]:
    system.define(one_task(action, queue="shop").replace("    w:", "    other:"))
    [execution] = system.finished(system.run("other"))
    return execution.state, execution.output["result"]


def action_of(system: System, execution: str) -> str | None:
    with system.platform.database.read() as session:
        found: str | None = session.scalar(
            select(ActionExecution.id).where(ActionExecution.workflow_execution_id == execution)
        )
        return found


def age(system: System, action: str, *, seconds: float) -> None:
    """Have an action be older than it is."""
    with system.platform.database.sessions.begin() as session:
        row = session.get(ActionExecution, action)
        assert row is not None
        row.created_at -= timedelta(seconds=seconds)
        row.check_at = row.created_at


@contextmanager
def bridged(system: System, folder: Path) -> Iterator[Worker]:
    """The same worker with the bridge."""
    (folder / "bridged_shop.py").write_text(
        "import time\n"
        "import celeriac_bridge\n"
        "from shop import app\n"
        "celeriac_bridge.install(app, heartbeat=1)\n"
        "@app.task(bind=True, name='tell')\n"
        "def tell(self, seconds):\n"
        "    celeriac_bridge.progress(self, 0.5, note='half')\n"
        "    time.sleep(seconds)\n"
    )
    with shop(system, application="bridged_shop", files=folder) as worker:
        yield worker
