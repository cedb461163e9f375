"""What one of many people does in the builder, for ``locust``: it runs in a process of its own, away from what it asks."""

from __future__ import annotations

import json
import os
import random
import re
from itertools import count
from pathlib import Path
from typing import Any

from locust import HttpUser, between, task

from benchmarks.load_people import PEOPLE

CHANGED = "include.all.2"
SEEN = re.compile(rf'name="at" value="{CHANGED}"><input type="hidden" name="seen" value="(\w+)"')
NUMBER = count()


class Marketer(HttpUser):
    """Changes a condition, looks at the counts, thinks for a second or two, goes back a step now and then."""

    wait_time = between(1, 3)

    def on_start(self) -> None:
        people: list[dict[str, Any]] = json.loads(Path(os.environ[PEOPLE]).read_text(encoding="utf-8"))
        self.me = people[next(NUMBER) % len(people)]
        self.client.cookies.set("huaxiang_session", self.me["cookie"])
        self.draft = f"/drafts/{self.me['draft']}"
        self.seen = self._seen(self.client.get(self.draft, name="open the builder").text)

    @task(6)
    def change(self) -> None:
        low = 100 * random.randint(0, 400)
        said = f"{{tag: net_amount_365d, between: [{low}, {low + random.randint(1, 5000) * 100}]}}"
        self._act("change a condition", do="change", at=CHANGED, seen=self.seen, yaml=said)

    @task(1)
    def undo(self) -> None:
        self._act("undo", do="undo")

    @task(1)
    def open(self) -> None:
        self.seen = self._seen(self.client.get(self.draft, name="open the builder").text)

    @task(2)
    def preview(self) -> None:
        said = self.me["text"].replace("at_most: 90", f"at_most: {random.randint(10, 300)}")
        headers = {"Authorization": f"Bearer {self.me['token']}"}
        with self.client.post(
            "/api/v1/audiences/preview",
            json={"text": said},
            headers=headers,
            name="preview by API",
            catch_response=True,
        ) as answer:
            if answer.status_code != 200 or answer.json()["base_users"] < 1:
                answer.failure(f"{answer.status_code}: {answer.text[:200]}")

    def _act(self, what: str, **fields: str) -> None:
        form = {**fields, "csrf": self.me["csrf"]}
        with self.client.post(
            self.draft, data=form, headers={"HX-Request": "true"}, name=what, catch_response=True
        ) as answer:
            if answer.status_code != 200 or 'id="refused"' in answer.text:
                answer.failure(f"{answer.status_code}: {answer.text[:200]}")
            else:
                self.seen = self._seen(answer.text)

    def _seen(self, page: str) -> str:
        found = SEEN.search(page)
        if found is None:
            raise RuntimeError(f"the builder shows no condition at {CHANGED}: {page[:300]}")
        return found[1]
