"""Transcripts as Claude Code 2.1 writes them, field by field, with canaries wherever people's words and paths stand."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

CANARY = "canary-9c1e"
AT = datetime(2026, 11, 1, 12, tzinfo=UTC)
SECRETS = {
    "cwd": f"/home/{CANARY}",
    "gitBranch": CANARY,
    "slug": CANARY,
    "userType": "external",
    "version": "2.1.197",
    "isSidechain": False,
}


def usage(put_in: int, write: int, read: int, out: int) -> dict[str, Any]:
    """Figures of a call, with what else stands beside them."""
    return {
        "input_tokens": put_in,
        "cache_creation_input_tokens": write,
        "cache_read_input_tokens": read,
        "cache_creation": {"ephemeral_5m_input_tokens": write, "ephemeral_1h_input_tokens": 0},
        "output_tokens": out,
        "service_tier": "standard",
        "server_tool_use": {"web_search_requests": 0},
    }


def answer(number: int, figures: dict[str, Any] | None, *, seconds: float = 0, at: datetime = AT, session: str = "s1", **more: Any) -> Any:
    """A line of an answer. `more` are fields of its message."""
    content = [
        {"type": "text", "text": f"{CANARY} {chr(0x1F600)}"},
        {"type": "thinking", "thinking": CANARY, "signature": CANARY},
        {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": f"cat {CANARY}", "file_path": CANARY}},
    ]
    message = {"id": f"msg_{number:04}", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5", "content": content}
    return {
        "parentUuid": None,
        **SECRETS,
        "sessionId": session,
        "message": {**message, "stop_reason": "end_turn", "stop_sequence": None, "usage": figures, **more},
        "requestId": f"req_{number:04}",
        "type": "assistant",
        "uuid": f"{number}-{seconds}",
        "timestamp": (at + timedelta(seconds=seconds)).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }


def asked(seconds: float = 0, session: str = "s1") -> Any:
    """A line of a prompt, and of what a tool answered."""
    at = (AT + timedelta(seconds=seconds)).isoformat()
    result = {"type": "tool_result", "content": CANARY, "stdout": CANARY}
    return {
        **SECRETS,
        "type": "user",
        "sessionId": session,
        "timestamp": at,
        "message": {"role": "user", "content": [result]},
        "toolUseResult": CANARY,
    }


def write(path: Path, *lines: Any) -> Path:
    """A transcript; a line that is bytes stands there as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(each if isinstance(each, bytes) else json.dumps(each).encode() + b"\n" for each in lines))
    return path
