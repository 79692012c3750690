package main

import (
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// document builds the YAML of the values in effect, in the order of options, each with the place it comes from as a comment.
func document(values map[string]settled) (*yaml.Node, error) {
	root := &yaml.Node{Kind: yaml.MappingNode}
	for _, o := range options() {
		set := values[o.key]
		at, name := root, o.key
		if section, key, ok := strings.Cut(o.key, "."); ok {
			at, name = sectionOf(root, section), key
		}
		value, err := valueNode(o, set.value)
		if err != nil {
			return nil, err
		}
		title := &yaml.Node{Kind: yaml.ScalarNode, Value: name}
		if value.Kind == yaml.ScalarNode || len(value.Content) == 0 {
			value.LineComment = "# " + set.place
		} else {
			title.HeadComment = "# " + set.place
		}
		at.Content = append(at.Content, title, value)
	}
	return root, nil
}

// sectionOf returns the section of that name, added at the end if it is new.
func sectionOf(root *yaml.Node, name string) *yaml.Node {
	for i := 0; i+1 < len(root.Content); i += 2 {
		if root.Content[i].Value == name {
			return root.Content[i+1]
		}
	}
	section := &yaml.Node{Kind: yaml.MappingNode}
	root.Content = append(root.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: name}, section)
	return section
}

// valueNode writes a parsed value the way it is written in a file.
func valueNode(o option, v any) (*yaml.Node, error) {
	n := &yaml.Node{}
	if o.unset != nil && v == o.unset {
		return n, n.Encode(off)
	}
	switch v := v.(type) {
	case time.Duration:
		return n, n.Encode(formatDuration(v))
	case int64:
		return n, n.Encode(formatSize(v))
	case []User:
		return n, n.Encode(redacted(v))
	case []Hook:
		return n, n.Encode(redactedHooks(v))
	}
	return n, n.Encode(v)
}
