package nexus.lib

text(v) := v if is_string(v)

text(v) := json.marshal(v) if not is_string(v)
