"""How programs are pointed at Tallyboard: for each client the exact settings to paste, with a key in them.

Sources: the clients' own documentation, and what they were seen to send (docs/otlp.md, docs/litellm.md, docs/api.md).
"""

from msgspec import Struct

PLACEHOLDER = "tb_your_key"


class Way(Struct, frozen=True):
    """One client: its name, where the settings go, and what they are."""

    slug: str
    name: str
    place: str
    lines: str


def ways(address: str, secret: str = PLACEHOLDER) -> tuple[Way, ...]:
    """The settings of every client, for a server at an address."""
    return (
        Way("claude-code", "Claude Code", "Environment", _claude_code(address, secret)),
        Way("codex", "Codex", "~/.codex/config.toml", _codex(address, secret)),
        Way("gemini-cli", "Gemini CLI", "Environment", _gemini(address, secret)),
        Way("copilot-cli", "Copilot CLI", "Environment", f"COPILOT_OTEL_ENABLED=true\n{_otlp(address, secret)}"),
        Way("opentelemetry", "OpenTelemetry", "Environment of any SDK", _otlp(address, secret)),
        Way("litellm", "LiteLLM proxy", "Environment, with callbacks: [“generic_api”] in its config.yaml", _litellm(address, secret)),
        Way("openmeter", "OpenMeter client", "Python", f'Client(endpoint="{address}", token="{secret}")'),
        Way("curl", "Anything else", "One event over HTTP", _curl(address, secret)),
    )


def _otlp(address: str, secret: str) -> str:
    return (
        f"OTEL_EXPORTER_OTLP_ENDPOINT={address}\n"
        "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf\n"
        f'OTEL_EXPORTER_OTLP_HEADERS="Authorization=Bearer {secret}"'
    )


def _claude_code(address: str, secret: str) -> str:
    return f"CLAUDE_CODE_ENABLE_TELEMETRY=1\nOTEL_LOGS_EXPORTER=otlp\n{_otlp(address, secret)}"


def _codex(address: str, secret: str) -> str:
    return (
        "[otel]\n"
        f'exporter = {{ otlp-http = {{ endpoint = "{address}/v1/logs", protocol = "binary", '
        f'headers = {{ Authorization = "Bearer {secret}" }} }} }}'
    )


def _gemini(address: str, secret: str) -> str:
    return (
        "GEMINI_TELEMETRY_ENABLED=true\nGEMINI_TELEMETRY_TARGET=local\nGEMINI_TELEMETRY_OTLP_PROTOCOL=http\n"
        f'GEMINI_TELEMETRY_OTLP_ENDPOINT={address}\nOTEL_EXPORTER_OTLP_HEADERS="Authorization=Bearer {secret}"'
    )


def _litellm(address: str, secret: str) -> str:
    return f'GENERIC_LOGGER_ENDPOINT={address}/api/v1/litellm\nGENERIC_LOGGER_HEADERS="Authorization=Bearer {secret}"'


def _curl(address: str, secret: str) -> str:
    return (
        f"curl -X POST {address}/api/v1/events \\\n"
        f'  -H "Authorization: Bearer {secret}" -H "Content-Type: application/json" \\\n'
        '  -d \'{"specversion": "1.0", "id": "1", "source": "/test", "type": "ai.usage.recorded",\n'
        '       "subject": "alice", "data": {"conversations": 1}}\''
    )
