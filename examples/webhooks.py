"""Hear when a fine-tuning job ends instead of asking for it: a Starlette application for OpenAI's webhooks.

Make an endpoint in OpenAI's dashboard for the events fine_tuning.job.succeeded, .failed and .cancelled, then

    OPENAI_API_KEY=sk-... OPENAI_WEBHOOK_SECRET=whsec_... uvicorn --factory examples.webhooks:application

Needs `pip install starlette uvicorn`, which the extra `local` brings along.
"""

from __future__ import annotations

from collections.abc import Callable

import openai
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import ragtune as rt
from ragtune.webhooks import Webhooks


def tell(job: rt.FineTuneJob) -> None:
    """What to do with a job that has ended: here its model is named, or why there is none."""
    error = job.details.error
    print(job.id, job.status, job.details.fine_tuned_model or (error.message if error else ""))


def application(
    client: openai.OpenAI | None = None,
    ended: Callable[[rt.FineTuneJob], None] = tell,
    remembered: str | None = "webhooks.sqlite3",
) -> Starlette:
    """Make the application; `ended` is called once for each job that ended."""
    client = client or openai.OpenAI()
    webhooks = Webhooks(client, path=remembered)

    def handle(body: bytes, headers: dict[str, str]) -> int:
        try:
            with webhooks.delivery(body, headers) as event:
                if event is not None:
                    # The webhook only says that something happened; the server says what.
                    ended(rt.FineTuneJob.get(client, event.job_id))
        except openai.InvalidWebhookSignatureError:
            return 400
        except Exception:
            # Not handled, so not remembered: OpenAI tries again for up to 72 hours.
            return 503
        return 204

    async def receive(request: Request) -> Response:
        body = await request.body()
        return Response(status_code=await run_in_threadpool(handle, body, dict(request.headers)))

    return Starlette(routes=[Route("/webhooks", receive, methods=["POST"])])
