"""The database: how it is connected to."""

import os
import socket

import pytest

from shared.database import Database


@pytest.mark.services
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_connection_whose_packets_are_dropped_ends_within_seconds(database_url: str) -> None:
    """Dropped packets need a firewall; what libpq and the kernel were told does not."""
    database = Database(database_url)
    with database.engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        told = driver.info.get_parameters()
        with socket.socket(fileno=os.dup(driver.fileno())) as copy:
            options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
            set_to = [copy.getsockopt(socket.IPPROTO_TCP, option) for option in options]
    database.close()
    names = ("keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout")
    assert [told[name] for name in names] == ["10", "5", "3", "15000"]
    assert set_to == [10, 5, 3, 15_000]
