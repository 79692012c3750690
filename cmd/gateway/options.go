package main

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"portico/adapters/grpc/proxy"

	"go.yaml.in/yaml/v3"
)

// off closes a door, or switches a check off.
const off = "off"

// An option is one key of the configuration: in the file as key, in the environment as env(), on the command line as flag().
type option struct {
	key     string
	preset  string // the default, as one would write it
	help    string
	expects string                 // what a value must be, for the message when it is not
	unset   any                    // what off parses to; nil: it cannot be off
	parse   func(any) (any, error) // errUnfit, or an error that says more
}

// errUnfit says that a value is not what the option expects.
var errUnfit = errors.New("unfit value")

// fit makes a parser's result of a value and whether it fits.
func fit(v any, ok bool) (any, error) {
	if !ok {
		return nil, errUnfit
	}
	return v, nil
}

func (o option) env() string  { return envPrefix + strings.ToUpper(strings.ReplaceAll(o.key, ".", "_")) }
func (o option) flag() string { return strings.NewReplacer(".", "-", "_", "-").Replace(o.key) }

const envPrefix = "PORTICO_"

// options lists every key once, in the order of docs/configuration.md.
func options() []option {
	return slices.Concat(generalOptions(), tlsOptions(), limitOptions(), doorOptions(), webSocketOptions(), clientOptions(), authOptions())
}

// generalOptions are the keys of the gateway as a whole.
func generalOptions() []option {
	return []option{
		text("data_dir", "portico-data", "folder for everything that is kept"),
		choice("durability", "acknowledged means: sync = on disk, os = handed to the operating system", "sync", "os"),
		duration("drain_timeout", "10s", "how long work in flight may take to settle at the end"),
		choice("log.level", "least severe level that is logged", "info", "debug", "warn", "error"),
		choice("log.format", "form of the log on standard error", "text", "json"),
		size("max_message", "16MiB", "largest message, payload and headers together", 1<<10, 128<<20),
		size("queue_memory", "512MiB", "memory all queues together may use for messages", 1<<20, math.MaxInt64),
		switchable(size("disk_free", "50MB", "below so much free space publishers are blocked; off = never", 0, math.MaxInt64), int64(0)),
	}
}

// doorOptions are the keys of the doors, and who may come in.
func doorOptions() []option {
	return []option{
		address("http.listen", "127.0.0.1:8080", "HTTP, WebSocket and the page"),
		tlsMode("http"),
		adminOption(),
		list("http.allowed_origins", "pages of other origins that may use HTTP and connect by WebSocket, such as https://app.example.com; no wildcards"),
		address("grpc.listen", "127.0.0.1:50051", "gRPC"),
		tlsMode("grpc"),
		backends("grpc.proxy.backends", "gRPC servers whose methods can be called at the gateway, as YAML or JSON text"),
		choice("grpc.proxy.authorization", "whether callers' authorization goes on to those servers", "drop", "pass"),
		address("amqp.listen", "127.0.0.1:5672", "AMQP 0-9-1"),
		tlsMode("amqp"),
		text("amqp.product", "RabbitMQ", "product that AMQP clients are told, who choose their behaviour by it"),
		text("amqp.version", "3.13.7", "version that AMQP clients are told"),
		switchable(wholeSeconds(between("amqp.heartbeat", "60s", "longest silence between heartbeats that is offered; off = none", time.Second, maxHeartbeat)), time.Duration(0)),
		size("amqp.frame_max", "128KiB", "largest AMQP frame that is offered", 4<<10, 1<<30),
		number("amqp.channel_max", "2047", "channels that are offered to an AMQP connection", 1, math.MaxUint16),
		duration("amqp.handshake_timeout", "10s", "how long an AMQP client may take to open its connection"),
		switchable(between("amqp.consumer_timeout", "30m", "a delivery not acknowledged for so long closes its channel; off = never", time.Millisecond, year), time.Duration(0)),
		address("nats.listen", "127.0.0.1:4222", "NATS"),
		tlsMode("nats"),
		address("mqtt.listen", "127.0.0.1:1883", "MQTT"),
		tlsMode("mqtt"),
		address("stomp.listen", "127.0.0.1:61613", "STOMP"),
		tlsMode("stomp"),
	}
}

// clientOptions are where webhooks go and who may come in.
func clientOptions() []option {
	return []option{
		networks("webhooks.allow_networks", "networks that outbound webhooks may go to although they are not of the public internet, such as 10.1.0.0/16"),
		hooksOption(),
		usersOption(),
		tenantsOption(),
	}
}

func text(key, preset, help string) option {
	return option{key: key, preset: preset, help: help, expects: "text", parse: func(v any) (any, error) {
		s, ok := v.(string)
		return fit(s, ok && s != "")
	}}
}

// choice takes the first value as the default.
func choice(key, help string, values ...string) option {
	return option{key: key, preset: values[0], help: help, expects: "one of " + strings.Join(values, ", "), parse: func(v any) (any, error) {
		s, ok := v.(string)
		return fit(s, ok && slices.Contains(values, s))
	}}
}

func duration(key, preset, help string) option {
	return between(key, preset, help, time.Millisecond, 24*time.Hour)
}

// year is long for a duration.
const year = 365 * 24 * time.Hour

// between is a duration from least to most.
func between(key, preset, help string, least, most time.Duration) option {
	expects := fmt.Sprintf("a duration such as 10s or 1m30s, from %s to %s", formatDuration(least), formatDuration(most))
	return option{key: key, preset: preset, help: help, expects: expects, parse: func(v any) (any, error) {
		s, _ := v.(string)
		d, err := time.ParseDuration(s)
		return fit(d, err == nil && d >= least && d <= most)
	}}
}

// maxHeartbeat is the longest that AMQP can say.
const maxHeartbeat = math.MaxUint16 * time.Second

// wholeSeconds refuses durations with a fraction of a second.
func wholeSeconds(o option) option {
	parse := o.parse
	o.expects = strings.Replace(o.expects, "a duration", "whole seconds", 1)
	o.parse = func(v any) (any, error) {
		d, err := parse(v)
		if err == nil && d.(time.Duration)%time.Second != 0 {
			err = errUnfit
		}
		return d, err
	}
	return o
}

// formatDuration writes a duration without the units that are zero at its end.
func formatDuration(d time.Duration) string {
	s := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if cut, ok := strings.CutSuffix(s, zero); ok {
			s = cut + zero[:1]
		}
	}
	return s
}

// number is a whole number from least to most.
func number(key, preset, help string, least, most int) option {
	return option{key: key, preset: preset, help: help, expects: fmt.Sprintf("a number from %d to %d", least, most), parse: func(v any) (any, error) {
		n, ok := v.(int)
		if s, isText := v.(string); isText {
			var err error
			n, err = strconv.Atoi(s)
			ok = err == nil
		}
		return fit(n, ok && n >= least && n <= most)
	}}
}

func address(key, preset, help string) option {
	return option{key: key, preset: preset, help: "address of " + help + "; off closes it", expects: "host:port such as 127.0.0.1:8080 (port 0 takes any), or off", parse: func(v any) (any, error) {
		s, ok := v.(string)
		if !ok || s == off {
			return fit(s, ok)
		}
		_, port, err := net.SplitHostPort(s)
		if err != nil {
			return nil, errUnfit
		}
		_, err = strconv.ParseUint(port, 10, 16)
		return fit(s, err == nil)
	}}
}

// list is a list of text; where only text can stand (environment, flags) the items are separated by commas.
func list(key, help string) option {
	return option{key: key, help: help + "; several are separated by commas", expects: "a list of text", parse: func(v any) (any, error) {
		return fit(textList(v))
	}}
}

// networks is a list of IP networks, in CIDR notation.
func networks(key, help string) option {
	o := list(key, help)
	o.expects = "a list of networks such as 10.1.0.0/16"
	o.parse = func(v any) (any, error) {
		texts, ok := textList(v)
		for _, text := range texts {
			_, err := netip.ParsePrefix(text)
			ok = ok && err == nil
		}
		return fit(texts, ok)
	}
	return o
}

func textList(v any) (out []string, ok bool) {
	switch v := v.(type) {
	case string:
		for item := range strings.SplitSeq(v, ",") {
			if item = strings.TrimSpace(item); item != "" {
				out = append(out, item)
			}
		}
		return out, true
	case []any:
		for _, item := range v {
			s, ok := item.(string)
			if !ok || s == "" {
				return nil, false
			}
			out = append(out, s)
		}
		return out, true
	}
	return nil, false
}

// backends is a list of gRPC servers. In the environment it is the same list as YAML or JSON text.
func backends(key, help string) option {
	return option{key: key, help: help, expects: "a list of servers, each with address, services, tls and its files", parse: func(v any) (any, error) { return parseBackends(v) }}
}

func parseBackends(v any) (out Backends, err error) {
	if s, ok := v.(string); ok {
		v = nil
		if err := yaml.Unmarshal([]byte(s), &v); err != nil {
			return out, errUnfit
		}
	}
	items, ok := v.([]any)
	if !ok && v != nil {
		return out, errUnfit
	}
	for i, item := range items {
		b, at := proxy.Backend{}, fmt.Sprintf("[%d]", i)
		err := readFields(at, item, "a section with address", map[string]field{
			"address":     textField(&b.Address),
			"services":    fitting("a list of names", func(v any) (ok bool) { b.Services, ok = textList(v); return ok }),
			"tls":         fitting("true or false", func(v any) (ok bool) { b.TLS, ok = v.(bool); return ok }),
			"ca_file":     textField(&b.CAFile),
			"cert_file":   textField(&b.CertFile),
			"key_file":    textField(&b.KeyFile),
			"server_name": textField(&b.ServerName),
		})
		if err == nil {
			err = b.Check()
		}
		if err != nil {
			return out, err
		}
		out.List = append(out.List, b)
	}
	return out, nil
}

// units are the suffixes of a size, the longer before the shorter.
var units = [...]struct {
	suffix string
	bytes  int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1}, {"", 1},
}

// size is a number of bytes between least and most.
func size(key, preset, help string, least, most int64) option {
	expects := "a size such as 64KiB, 16MiB or 50MB"
	if most < math.MaxInt64 {
		expects += fmt.Sprintf(", from %s to %s", formatSize(least), formatSize(most))
	} else if least > 0 {
		expects += fmt.Sprintf(", at least %s", formatSize(least))
	}
	return option{key: key, preset: preset, help: help, expects: expects, parse: func(v any) (any, error) {
		n, ok := parseSize(v)
		return fit(n, ok && n >= least && n <= most)
	}}
}

// switchable lets an option be off, which is unset as a value.
func switchable(o option, unset any) option {
	parse := o.parse
	o.expects += ", or off"
	o.unset = unset
	o.parse = func(v any) (any, error) {
		if v == off {
			return unset, nil
		}
		return parse(v)
	}
	return o
}

func parseSize(v any) (int64, bool) {
	switch v := v.(type) {
	case int:
		return int64(v), v >= 0
	case string:
		for _, u := range units {
			digits, ok := strings.CutSuffix(v, u.suffix)
			if !ok {
				continue
			}
			n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
			return n * u.bytes, err == nil && n >= 0 && n <= math.MaxInt64/u.bytes
		}
	}
	return 0, false
}

// formatSize writes a size in the largest unit that divides it.
func formatSize(n int64) string {
	best := units[len(units)-1]
	for _, u := range units {
		if n > 0 && n%u.bytes == 0 && u.bytes > best.bytes {
			best = u
		}
	}
	return strconv.FormatInt(n/best.bytes, 10) + best.suffix
}
