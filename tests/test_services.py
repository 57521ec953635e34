"""The services that the run brings up are real."""

import psycopg
import redis
from django.db import connection


def test_the_database_answers(db):
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM keys_team")
        assert cursor.fetchone() == (0,)


def test_a_new_postgresql_database_is_empty(cluster):
    with psycopg.connect(cluster.new_database()) as fresh:
        tables = fresh.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
        assert tables.fetchone() == (0,)


def test_redis_keeps_a_value(redis_server):
    client = redis.Redis.from_url(redis_server.url)
    client.set("a", 1)
    assert client.get("a") == b"1"
    client.close()


def test_a_browser_renders_a_page(page):
    page.set_content("<h1>hello</h1>")
    assert page.get_by_role("heading").inner_text() == "hello"
