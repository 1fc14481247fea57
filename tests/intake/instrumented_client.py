"""Runs in an environment of instrumentations: calls a model as an application would, with OpenAI's client. Arguments: URL, key, model's URL, which, service."""

import sys
from importlib import import_module

from openai import OpenAI
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

url, key, model_url, which, service = sys.argv[1:]
MODULES = {
    "genai": "opentelemetry.instrumentation.genai.openai",
    "traceloop": "opentelemetry.instrumentation.openai",
    "openinference": "openinference.instrumentation.openai",
}

provider = TracerProvider(resource=Resource.create({"service.name": service, "user.email": "alice@example.com"}))
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{url}/v1/traces", headers={"Authorization": f"Bearer {key}"})))
trace.set_tracer_provider(provider)
import_module(MODULES[which]).OpenAIInstrumentor().instrument()

client = OpenAI(api_key="nothing", base_url=f"{model_url}/v1", max_retries=0)
said = [{"role": "user", "content": "a canary sings"}]
client.chat.completions.create(model="gpt-4o", messages=said)
for _ in client.chat.completions.create(model="gpt-4o", messages=said, stream=True, stream_options={"include_usage": True}):
    pass
client.responses.create(model="gpt-4o", input="a canary sings")
provider.shutdown()
