package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/posflag"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// A layer is one place values come from. Later layers win.
type layer struct {
	values map[string]any                 // raw, by key
	place  func(key string) string        // how an error names the place of a key
	hint   func(key string) (hint string) // for a key that does not exist
}

// A settled value knows where it was set.
type settled struct {
	value any
	place string // "default", "PORTICO_HTTP_LISTEN", "--http-listen", "portico.yaml:3"
}

// load merges defaults, file ("" = none), environment and flags, in rising precedence, and checks the whole.
// Every mistake is told, not only the first.
func load(file string, environ []string, flags *pflag.FlagSet) (*Config, map[string]settled, error) {
	var fileLayer layer
	var err error
	if file != "" {
		if fileLayer, err = fromFile(file); err != nil {
			return nil, nil, err
		}
	}
	environLayer, envErr := fromEnviron(environ)
	flagLayer, flagErr := fromFlags(flags)
	if err := errors.Join(envErr, flagErr); err != nil {
		return nil, nil, fmt.Errorf("read the configuration: %w", err)
	}
	values, err := settle([]layer{defaults(), fileLayer, environLayer, flagLayer})
	if err != nil {
		return nil, nil, err
	}
	cfg, err := unmarshal(values)
	if err == nil {
		err = cfg.check()
	}
	return cfg, values, err
}

// settle parses every value of every layer, also those that a later layer hides: a mistake stays a mistake.
func settle(layers []layer) (map[string]settled, error) {
	known := map[string]option{}
	for _, o := range options() {
		known[o.key] = o
	}
	out := map[string]settled{}
	var all []error
	for _, l := range layers {
		for _, key := range slices.Sorted(maps.Keys(l.values)) {
			o, ok := known[key]
			if !ok {
				all = append(all, fmt.Errorf("%s: unknown key%s", l.place(key), l.hint(key)))
				continue
			}
			v, err := o.parse(l.values[key])
			if err != nil {
				all = append(all, misfit(l.place(key), o, l.values[key], err))
				continue
			}
			out[key] = settled{v, l.place(key)}
		}
	}
	return out, errors.Join(all...)
}

// misfit words the error for a value that an option refused.
func misfit(place string, o option, v any, err error) error {
	if !errors.Is(err, errUnfit) {
		return fmt.Errorf("%s: %w", place, err)
	}
	return fmt.Errorf("%s: found %s, expected %s", place, kindOf(v), o.expects)
}

// kindOf describes a value that was not expected. Text is shown in quotes, lists and sections are not shown.
func kindOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "nothing"
	case string:
		return fmt.Sprintf("%q", v)
	case []any:
		return "a list"
	case map[string]any:
		return "a section"
	default:
		return fmt.Sprintf("%v", v)
	}
}

func unmarshal(values map[string]settled) (*Config, error) {
	flat := map[string]any{}
	for key, v := range values {
		flat[key] = v.value
	}
	k := koanf.New(".")
	if err := k.Load(confmap.Provider(flat, "."), nil); err != nil {
		return nil, fmt.Errorf("merge the configuration: %w", err)
	}
	var cfg Config
	if err := k.Unmarshal("", &cfg); err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	return &cfg, nil
}

func defaults() layer {
	l := layer{values: map[string]any{}, place: func(string) string { return "default" }}
	for _, o := range options() {
		l.values[o.key] = o.preset
	}
	return l
}

// fromFile reads a YAML file. Errors name its lines.
func fromFile(path string) (layer, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return layer{}, fmt.Errorf("read the configuration: %w", err)
	}
	var doc yaml.Node
	var nested map[string]any
	if err := errors.Join(yaml.Unmarshal(raw, &doc), yaml.Unmarshal(raw, &nested)); err != nil {
		return layer{}, fmt.Errorf("%s: %w", path, err)
	}
	values, err := flatten(confmap.Provider(nested, ""))
	if err != nil {
		return layer{}, fmt.Errorf("%s: %w", path, err)
	}
	maps.DeleteFunc(values, func(key string, v any) bool { // a section whose content is commented out is no mistake
		section, ok := v.(map[string]any)
		return isSection(key) && (v == nil || ok && len(section) == 0)
	})
	return layer{
		values: values,
		place:  func(key string) string { return fmt.Sprintf("%s:%d: %s", path, lineOf(&doc, key), key) },
		hint: func(key string) string {
			if isSection(key) {
				return "; it is a section"
			}
			return suggest(key, keys())
		},
	}, nil
}

// flatten reads a provider into a map by dotted keys.
func flatten(p koanf.Provider) (map[string]any, error) {
	k := koanf.New(".")
	if err := k.Load(p, nil); err != nil {
		return nil, err
	}
	return k.All(), nil
}

func isSection(key string) bool {
	return slices.ContainsFunc(keys(), func(k string) bool { return strings.HasPrefix(k, key+".") })
}

// lineOf finds the line of a key in a document; the line of the innermost section that exists if it has none.
func lineOf(n *yaml.Node, key string) int {
	line := n.Line
	if n.Kind == yaml.DocumentNode && len(n.Content) > 0 {
		n = n.Content[0]
	}
	if n.Kind != yaml.MappingNode {
		return line
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		if name.Value == key {
			return name.Line
		}
		if rest, ok := strings.CutPrefix(key, name.Value+"."); ok {
			return max(name.Line, lineOf(value, rest))
		}
	}
	return line
}

// fromEnviron reads the variables PORTICO_…
func fromEnviron(environ []string) (layer, error) {
	byName, byKey := map[string]string{}, map[string]string{}
	for _, o := range options() {
		byName[o.env()], byKey[o.key] = o.key, o.env()
	}
	values, err := flatten(env.Provider(".", env.Opt{
		Prefix:      envPrefix,
		EnvironFunc: func() []string { return environ },
		TransformFunc: func(name, v string) (string, any) {
			if notOurs(name) {
				return "", nil
			}
			return cmp.Or(byName[name], name), v
		},
	}))
	return layer{
		values: values,
		place:  func(key string) string { return cmp.Or(byKey[key], key) },
		hint:   func(name string) string { return suggest(name, slices.Collect(maps.Keys(byName))) },
	}, err
}

// notOurs tells variables with our prefix that are not keys: PORTICO_CONFIG names the file, others are of commands that talk to a running gateway, and Kubernetes
// describes a service called portico to every container by PORTICO_SERVICE_… and PORTICO_PORT….
func notOurs(name string) bool {
	return name == envConfig || name == envURL || name == envLogin || name == envToken || strings.HasPrefix(name, envPrefix+"SERVICE_") ||
		name == envPrefix+"PORT" || strings.HasPrefix(name, envPrefix+"PORT_")
}

// fromFlags reads the flags that were given. The flag set knows no others, so there is none to be unknown.
func fromFlags(flags *pflag.FlagSet) (layer, error) {
	byFlag, byKey := map[string]string{}, map[string]string{}
	for _, o := range options() {
		byFlag[o.flag()], byKey[o.key] = o.key, "--"+o.flag()
	}
	values, err := flatten(posflag.ProviderWithFlag(flags, ".", nil, func(f *pflag.Flag) (string, any) {
		return byFlag[f.Name], f.Value.String()
	}))
	return layer{values: values, place: func(key string) string { return byKey[key] }}, err
}

func keys() []string {
	var all []string
	for _, o := range options() {
		all = append(all, o.key)
	}
	return all
}

// suggest returns "; did you mean x?" for the nearest candidate, or "".
func suggest(wrong string, candidates []string) string {
	best, least := "", 1+len(wrong)/3
	for _, c := range slices.Sorted(slices.Values(candidates)) {
		if d := distance(wrong, c); d <= least && (best == "" || d < least) {
			best, least = c, d
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}

// distance is the number of bytes to insert, delete or replace to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
