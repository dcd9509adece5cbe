"""The way to the broker: kombu's for Redis, with a worker that goes on after the broker was away, and soon."""

from __future__ import annotations

from typing import Any

from celery.app import amqp
from kombu import Connection
from kombu.transport import redis, virtual

# Between two tries to reach a broker that is away.
TRY_AGAIN = {"interval_start": 1, "interval_step": 0, "interval_max": 1}


class QoS(redis.QoS):
    """Counts what the worker has taken and not finished.

    While the broker is away, Celery logs that a finished message could not be acknowledged and goes on; kombu counts
    it among those that are worked on for ever. With as many of them as the worker has processes, it fetches nothing more,
    and since it asks for nothing, it never finds that its connection is dead. So a message that was finished
    is taken off the count here; the broker hands it out again after its time, and the job's row says that it was done.
    """

    def ack(self, delivery_tag: str) -> None:
        try:
            super().ack(delivery_tag)
        except self.channel.connection_errors:
            virtual.QoS.ack(self, delivery_tag)
            raise

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        try:
            super().reject(delivery_tag, requeue=requeue)
        except self.channel.connection_errors:
            virtual.QoS.ack(self, delivery_tag)
            raise


class Channel(redis.Channel):
    """A channel that counts so."""

    QoS = QoS


class Transport(redis.Transport):
    """What settings.CELERY_BROKER_TRANSPORT names."""

    Channel = Channel


class PatientConnection(Connection):
    """Looks for a broker that is away once a second: kombu waits longer each time, up to half a minute."""

    def ensure_connection(self, *args: Any, **kwargs: Any) -> Any:
        return super().ensure_connection(*args, **{**TRY_AGAIN, **kwargs})


class Messages(amqp.AMQP):  # type: ignore[misc]
    """What config.celery names."""

    Connection = PatientConnection
