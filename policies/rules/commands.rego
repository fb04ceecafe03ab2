# What rules read of the command lines in deploy files.
package nexus.commands

# lines are the commands that compose services and containers run: each with its
# arguments as one text, and each of a shell's by itself.
lines contains {"file": doc.file, "line": line, "text": text, "image": object.get(container, "image", "")} if {
	some doc in input.deploy.documents
	walk(doc.content, [path, container])
	is_object(container)
	parts := [part | some part in ["entrypoint", "command", "args"]; container[part]]
	whole := concat(" ", [words(container[part]) | some part in parts])
	some text in regex.split(`&&|\|\||[;|\n]`, regex.replace(whole, `\\\r?\n`, " ")) # a line goes on after a backslash
	pointer := concat("/", array.concat([""], [sprintf("%v", [p]) | some p in path]))
	line := object.get(doc.lines, concat("/", [pointer, parts[0]]), doc.line)
}

words(value) := concat(" ", [sprintf("%v", [word]) | some word in value]) if is_array(value)

words(value) := value if is_string(value)

# settings are the NAME=value pairs of a command line, without quotes.
settings(text) := {[pair[1], trim(pair[2], `"'`)] | some pair in regex.find_all_string_submatch_n(`([a-z][a-z._]*)=(\[[^\]]*\]|[^,\s]+)`, text, -1)}

# topics are those a line names after the options of Kafka's programs.
topics(text) := {name[1] | some name in regex.find_all_string_submatch_n(`--(?:topic|entity-name)[ =]["']?([A-Za-z0-9._-]+)`, text, -1)}
