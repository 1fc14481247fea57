"""OpenTelemetry's protocol: what is read of it, and what of that is usage."""
