"""Runs in an environment of OpenTelemetry: sends with its SDK and exporter what an application would. Arguments: URL, key, encoding."""

import sys
from importlib import import_module

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

url, key, encoding = sys.argv[1:]
exporter = import_module(f"opentelemetry.exporter.otlp.{encoding}.http.trace_exporter").OTLPSpanExporter
headers = {"Authorization": f"Bearer {key}"}
resource = Resource.create({"service.name": "real-client"})


def provider() -> TracerProvider:
    """A provider that sends in batches."""
    made = TracerProvider(resource=resource)
    made.add_span_processor(BatchSpanProcessor(exporter(endpoint=f"{url}/v1/traces", headers=headers)))
    return made


traces = provider()
tracer = traces.get_tracer("real")
for number in range(20):
    with tracer.start_as_current_span(
        "invoke_agent", attributes={"gen_ai.operation.name": "invoke_agent", "gen_ai.usage.input_tokens": 10}
    ):
        said = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "gpt-4o",
            "gen_ai.usage.input_tokens": 10,
            "gen_ai.usage.output_tokens": number,
            "gen_ai.usage.cache_read.input_tokens": 4,
            "gen_ai.response.finish_reasons": ["stop"],
            "gen_ai.input.messages": '[{"role": "user"}]' * 100,
            "user.email": f"{encoding}@example.com",
        }
        with tracer.start_as_current_span("chat gpt-4o", attributes=said):
            pass
traces.shutdown()
if encoding == "proto":
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    marked = resource.merge(Resource({"tallyboard.count": "metrics", "service.name": "real-meter"}))
    to = OTLPMetricExporter(endpoint=f"{url}/v1/metrics", headers=headers, compression=Compression.Gzip)
    meters = MeterProvider([PeriodicExportingMetricReader(to, export_interval_millis=10**8)], resource=marked)
    counter = meters.get_meter("real").create_counter("gen_ai.client.inference.usage.input_tokens")
    for _ in range(3):
        counter.add(10, {"user.email": "meter@example.com", "gen_ai.request.model": "gpt-4o", "stream": True})
        meters.force_flush()
    meters.shutdown()
