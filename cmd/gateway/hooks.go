package main

import (
	"fmt"
	"maps"
	"slices"
	"time"

	httpapi "portico/adapters/http"

	"go.yaml.in/yaml/v3"
)

// Hook is a source of inbound webhooks that is always there.
type Hook struct {
	Name      string           `koanf:"name"`
	Kind      string           `koanf:"kind"`
	Secrets   []Secret         `koanf:"secrets"`
	Tolerance time.Duration    `koanf:"tolerance"` // 0: 5 min
	Subject   string           `koanf:"subject"`   // template; "": hooks.{name}.{type}
	Headers   []string         `koanf:"headers"`
	IDHeader  string           `koanf:"id_header"`
	HMAC      httpapi.HookHMAC `koanf:"hmac"`
	Live      bool             `koanf:"live"`
}

// door is the hook as the HTTP door takes it.
func (h Hook) door() httpapi.Hook {
	out := httpapi.Hook{
		Name: h.Name, Kind: h.Kind, Tolerance: h.Tolerance, Subject: h.Subject, Headers: h.Headers, IDHeader: h.IDHeader, HMAC: h.HMAC, Live: h.Live,
	}
	for _, s := range h.Secrets {
		out.Secrets = append(out.Secrets, string(s))
	}
	return out
}

// doorHooks are all of them as the HTTP door takes them.
func (c *Config) doorHooks() (all []httpapi.Hook) {
	for _, h := range c.Hooks {
		all = append(all, h.door())
	}
	return all
}

// checkHooks finds hooks that cannot be, and names that stand twice.
func (c *Config) checkHooks() (all []error) {
	seen := map[string]bool{}
	for i, h := range c.Hooks {
		if err := httpapi.CheckHook(h.door()); err != nil {
			all = append(all, fmt.Errorf("hooks[%d] (%s): %w", i, h.Name, err))
		}
		if seen[h.Name] {
			all = append(all, fmt.Errorf("hooks[%d].name: found %q a second time, expected each name once", i, h.Name))
		}
		seen[h.Name] = true
	}
	return all
}

// hooksOption is the list of hooks. In the environment it is the same list as YAML or JSON text.
func hooksOption() option {
	return option{
		key:     "hooks",
		help:    "sources of inbound webhooks, as YAML or JSON text; other processes can read flags, prefer the file or the environment",
		expects: "a list of hooks, each with name, kind, secrets",
		parse:   func(v any) (any, error) { return parseHooks(v) },
	}
}

// parseHooks reads the list from YAML's values, or from YAML text. Values are never part of an error: they may be secrets.
func parseHooks(v any) ([]Hook, error) {
	if s, ok := v.(string); ok {
		v = nil
		if err := yaml.Unmarshal([]byte(s), &v); err != nil {
			return nil, &badUser{"hooks", "text that is no YAML", "a list of hooks"}
		}
	}
	items, ok := v.([]any)
	if !ok && v != nil {
		return nil, &badUser{"hooks", shapeOf(v), "a list of hooks"}
	}
	var hooks []Hook
	for i, item := range items {
		h, err := parseHook(fmt.Sprintf("hooks[%d]", i), item)
		if err != nil {
			return nil, err
		}
		hooks = append(hooks, h)
	}
	return hooks, nil
}

// A field reads one value of a section into its place: nil, or what was expected instead.
type field struct {
	read func(at string, v any) error
}

// fitting is a field that is read by something that tells whether it fits.
func fitting(expected string, read func(v any) bool) field {
	return field{func(at string, v any) error {
		if !read(v) {
			return &badUser{at, shapeOf(v), expected}
		}
		return nil
	}}
}

func textField(to *string) field {
	return fitting("text in quotes", func(v any) (ok bool) { *to, ok = v.(string); return ok })
}

// readFields reads a section whose fields are these.
func readFields(at string, v any, expected string, known map[string]field) error {
	values, ok := v.(map[string]any)
	if !ok {
		return &badUser{at, shapeOf(v), expected}
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		f, ok := known[name]
		if !ok {
			return fmt.Errorf("%s.%s: unknown key%s", at, name, suggest(name, slices.Collect(maps.Keys(known))))
		}
		if err := f.read(at+"."+name, values[name]); err != nil {
			return err
		}
	}
	return nil
}

func parseHook(at string, v any) (h Hook, err error) {
	err = readFields(at, v, "a section with name, kind and secrets", map[string]field{
		"name": textField(&h.Name), "kind": textField(&h.Kind), "subject": textField(&h.Subject), "id_header": textField(&h.IDHeader),
		"secrets":   fitting("a list of text in quotes", func(v any) bool { return secretList(&h.Secrets, v) }),
		"headers":   fitting("a list of names", func(v any) (ok bool) { h.Headers, ok = textList(v); return ok }),
		"live":      fitting("true or false", func(v any) (ok bool) { h.Live, ok = v.(bool); return ok }),
		"tolerance": fitting("a duration such as 5m", func(v any) bool { return toleranceOf(&h.Tolerance, v) }),
		"hmac": {read: func(at string, v any) error {
			return readFields(at, v, "a section with header", map[string]field{
				"header": textField(&h.HMAC.Header), "algorithm": textField(&h.HMAC.Algorithm), "encoding": textField(&h.HMAC.Encoding), "prefix": textField(&h.HMAC.Prefix),
				"timestamp_header": textField(&h.HMAC.TimestampHeader), "content": textField(&h.HMAC.Content),
			})
		}},
	})
	return h, err
}

func toleranceOf(to *time.Duration, v any) bool {
	s, _ := v.(string)
	d, err := time.ParseDuration(s)
	*to = d
	return err == nil && d > 0
}

// secretList reads secrets; a text with commas is not several of them.
func secretList(to *[]Secret, v any) bool {
	items, ok := v.([]any)
	for _, item := range items {
		var s Secret
		ok = secret(&s, item) && ok
		*to = append(*to, s)
	}
	return ok
}

// redactedHooks is the list in the file's form, without secrets.
func redactedHooks(hooks []Hook) []map[string]any {
	out := make([]map[string]any, 0, len(hooks))
	for _, h := range hooks {
		secrets := make([]string, len(h.Secrets))
		for i, s := range h.Secrets {
			secrets[i] = s.String()
		}
		entry := map[string]any{"name": h.Name, "kind": h.Kind, "secrets": secrets}
		addText(entry, map[string]string{"subject": h.Subject, "id_header": h.IDHeader})
		if h.Tolerance > 0 {
			entry["tolerance"] = formatDuration(h.Tolerance)
		}
		if len(h.Headers) > 0 {
			entry["headers"] = h.Headers
		}
		if h.Live {
			entry["live"] = true
		}
		if h.HMAC != (httpapi.HookHMAC{}) {
			signed := map[string]any{}
			addText(signed, map[string]string{
				"header": h.HMAC.Header, "algorithm": h.HMAC.Algorithm, "encoding": h.HMAC.Encoding, "prefix": h.HMAC.Prefix,
				"timestamp_header": h.HMAC.TimestampHeader, "content": h.HMAC.Content,
			})
			entry["hmac"] = signed
		}
		out = append(out, entry)
	}
	return out
}

// addText adds what is not empty.
func addText(to map[string]any, fields map[string]string) {
	for name, text := range fields {
		if text != "" {
			to[name] = text
		}
	}
}
