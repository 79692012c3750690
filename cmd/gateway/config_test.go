package main

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/crypto/bcrypt"
)

// given is what a run is given: a file's content, environment and flags.
type given struct {
	file    string
	environ []string
	args    []string
}

func (g given) load(t *testing.T) (*Config, error) {
	t.Helper()
	path := ""
	if g.file != "" {
		path = filepath.Join(t.TempDir(), "portico.yaml")
		if err := os.WriteFile(path, []byte(g.file), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	flags := pflag.NewFlagSet("gateway", pflag.ContinueOnError)
	for _, o := range options() {
		flags.String(o.flag(), "", o.help)
	}
	if err := flags.Parse(g.args); err != nil {
		t.Fatal(err)
	}
	cfg, _, err := load(path, g.environ, flags)
	return cfg, err
}

func TestDefaults(t *testing.T) {
	cfg, err := given{}.load(t)
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		DataDir: "portico-data", Durability: "sync", DrainTimeout: 10 * time.Second,
		Log:        LogConfig{Level: "info", Format: "text"},
		Admin:      AdminConfig{Listen: "off"},
		Audit:      AuditConfig{MaxSize: 16 << 20},
		TLS:        TLSConfig{MinVersion: "1.2", ClientAuth: "none"},
		MaxMessage: 16 << 20, QueueMemory: 512 << 20, DiskFree: 50_000_000,
		HTTP: HTTPConfig{DoorConfig: DoorConfig{"127.0.0.1:8080", "auto"}}, GRPC: GRPCConfig{DoorConfig: DoorConfig{"127.0.0.1:50051", "auto"}},
		AMQP: AMQPConfig{
			DoorConfig: DoorConfig{"127.0.0.1:5672", "auto"}, Product: "RabbitMQ", Version: "3.13.7", Heartbeat: time.Minute, FrameMax: 128 << 10, ChannelMax: 2047,
			HandshakeTimeout: 10 * time.Second, ConsumerTimeout: 30 * time.Minute,
		},
		WebSocket: WebSocketConfig{MaxConnections: 8192, MaxSubscriptions: 1024, MaxOutbound: 8 << 20},
		Auth:      AuthConfig{Lockout: 10, LoopbackUsers: []string{"guest"}, CertificateName: "common_name"},
		NATS:      DoorConfig{"127.0.0.1:4222", "auto"}, MQTT: DoorConfig{"127.0.0.1:1883", "auto"}, STOMP: DoorConfig{"127.0.0.1:61613", "auto"},
	}
	want.GRPC.Proxy.Authorization = "drop"
	cfg.Tenants, cfg.Auth.Issuers, cfg.Webhooks.AllowNetworks, cfg.GRPC.Proxy.Backends.List = nil, nil, nil, nil
	cfg.HTTP.AllowedOrigins, cfg.WebSocket.AllowedOrigins, cfg.Users, cfg.Hooks = nil, nil, nil, nil // empty, whether nil or not
	if !reflect.DeepEqual(cfg, want) {
		t.Errorf("got  %+v\nwant %+v", cfg, want)
	}
}

func TestPrecedence(t *testing.T) {
	file := "http: {listen: '127.0.0.1:1'}\ngrpc: {listen: '127.0.0.1:1'}\namqp: {listen: '127.0.0.1:1'}\n"
	environ := []string{"PORTICO_GRPC_LISTEN=127.0.0.1:2", "PORTICO_AMQP_LISTEN=127.0.0.1:2", "PATH=/bin"}
	cfg, err := given{file, environ, []string{"--amqp-listen", "127.0.0.1:3"}}.load(t)
	if err != nil {
		t.Fatal(err)
	}
	got := []string{cfg.NATS.Listen, cfg.HTTP.Listen, cfg.GRPC.Listen, cfg.AMQP.Listen}
	want := []string{"127.0.0.1:4222", "127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("default, file, environment, flag: got %v, want %v", got, want)
	}
}

// TestEveryKeyEverywhere sets each key in the file, in the environment and by a flag, and expects the same from all three.
func TestEveryKeyEverywhere(t *testing.T) {
	values := map[string]string{
		"data_dir": "elsewhere", "durability": "os", "drain_timeout": "3s", "log.level": "debug", "log.format": "json",
		"max_message": "1MiB", "queue_memory": "2GiB", "disk_free": "off", "http.listen": "off", "grpc.listen": "off", "amqp.listen": "off",
		"amqp.product": "Portico", "amqp.version": "4.1.0", "amqp.heartbeat": "off", "amqp.frame_max": "4KiB", "amqp.channel_max": "16",
		"amqp.handshake_timeout": "3s", "amqp.consumer_timeout": "off",
		"nats.listen": "off", "mqtt.listen": "off", "stomp.listen": "off", "http.allowed_origins": "https://a.example,https://b.example", "websocket.allowed_origins": "https://a.example,https://b.example",
		"tls.cert": "a.pem", "tls.key": "a.key", "tls.client_ca": "ca.pem", "tls.crl": "crl.pem", "tls.client_auth": "request", "tls.min_version": "1.3", "tls.self_signed": "true",
		"limits.connections": "7", "limits.connections_per_address": "7", "limits.connections_per_user": "7", "limits.connect_rate": "7", "limits.message_rate": "7",
		"admin.listen": "127.0.0.1:0", "audit.file": "audit.log", "audit.max_size": "1MiB",
		"http.tls": "off", "grpc.tls": "optional", "amqp.tls": "required", "nats.tls": "off", "mqtt.tls": "off", "stomp.tls": "off",
		"websocket.compression": "true", "websocket.max_connections": "20000", "websocket.max_connections_per_address": "10", "websocket.max_subscriptions": "64",
		"websocket.max_message": "1MiB", "websocket.max_outbound": "1MiB", "websocket.rate": "100",
		"webhooks.allow_networks":  "10.1.0.0/16,127.0.0.0/8",
		"grpc.proxy.backends":      `[{"address":"127.0.0.1:9000","services":["a.B"],"tls":true,"ca_file":"ca.pem","cert_file":"c.pem","key_file":"k.pem","server_name":"b"}]`,
		"grpc.proxy.authorization": "pass",
		"hooks":                    `[{"name":"shop","kind":"hmac","secrets":["hunter2hunter2"],"tolerance":"1m","subject":"shop.{type}","headers":["X-Shop"],"id_header":"X-Id","live":true,"hmac":{"header":"X-Sig","prefix":"sha256="}}]`,
		"tenants":                  `[{"name":"shop","limits":{"queues":10,"message_rate":2.5},"exports":["orders.>"]},{"name":"stats","imports":[{"tenant":"shop","subject":"orders.*.done"}]}]`,
		"auth.lockout":             "7",
		"auth.loopback_users":      "guest,root",
		"auth.certificate_name":    "dns_name",
		"auth.issuers":             `[{"issuer":"https://login.example.com","audience":["portico"],"claims":{"user":"email"}}]`,
		"users":                    `[{"name":"ann","password":"secret","publish":["a.>"],"subscribe":["b.*"],"permissions":{"publish":{"deny":["a.b"]},"queue":{"consume":{"allow":["jobs*"]}},"amqp":[{"vhost":"/","configure":"","write":".*","read":"^in"}],"roles":["monitoring"]}},{"name":"bob","password_hash":"X3t83HwtYJshbFkIErtCrPmd4vexemxvM437spMQlmD+mrJb","hashing_algorithm":"rabbit_password_hashing_sha256","certificates":["bob.example.com"],"nkeys":["UAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"],"roles":["monitoring"],"disabled":true,"tenant":"shop","tenants":["*"]}]`,
	}
	plain, err := given{}.load(t)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range options() {
		t.Run(o.key, func(t *testing.T) {
			value, ok := values[o.key]
			if !ok {
				t.Fatal("the test has no value for this key")
			}
			section, key, nested := strings.Cut(o.key, ".")
			text := section + ": " + value + "\n"
			if nested {
				text = section + ":\n  " + key + ": " + value + "\n"
			}
			var got []*Config
			for _, g := range []given{{file: text}, {environ: []string{o.env() + "=" + value}}, {args: []string{"--" + o.flag(), value}}} {
				cfg, err := g.load(t)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, cfg)
			}
			if reflect.DeepEqual(got[0], plain) {
				t.Error("the key changes nothing")
			}
			if !reflect.DeepEqual(got[0], got[1]) || !reflect.DeepEqual(got[1], got[2]) {
				t.Errorf("file %+v\nenvironment %+v\nflag %+v", got[0], got[1], got[2])
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		given given
		want  []string // all of these in the error
	}{
		"unknown key": {
			given{file: "data_dir: x\nhttp:\n  lisen: off\n"},
			[]string{"portico.yaml:3: http.lisen: unknown key; did you mean http.listen?"},
		},
		"unknown key like none": {given{file: "banana: 1"}, []string{"portico.yaml:1: banana: unknown key"}},
		"text for a section":    {given{file: "http: 8080"}, []string{"portico.yaml:1: http: unknown key; it is a section"}},
		"key twice":             {given{file: "data_dir: a\ndata_dir: b"}, []string{"portico.yaml", "line 2", "data_dir"}},
		"no YAML":               {given{file: "a: [b"}, []string{"portico.yaml", "yaml"}},
		"unknown variable": {
			given{environ: []string{"PORTICO_HTTP_LISTN=off"}},
			[]string{"PORTICO_HTTP_LISTN: unknown key; did you mean PORTICO_HTTP_LISTEN?"},
		},
		"bad address":       {given{environ: []string{"PORTICO_HTTP_LISTEN=8080"}}, []string{`PORTICO_HTTP_LISTEN: found "8080", expected host:port`, "off"}},
		"bad port":          {given{args: []string{"--nats-listen", "127.0.0.1:70000"}}, []string{`--nats-listen: found "127.0.0.1:70000", expected host:port`}},
		"bad choice":        {given{file: "durability: maybe"}, []string{`durability: found "maybe", expected one of sync, os`}},
		"bad duration":      {given{file: "drain_timeout: 10"}, []string{"drain_timeout: found 10, expected a duration such as 10s"}},
		"negative duration": {given{file: "drain_timeout: -1s"}, []string{`drain_timeout: found "-1s"`}},
		"bad size":          {given{file: "max_message: 1 parsec"}, []string{`max_message: found "1 parsec", expected a size such as 64KiB`, "to 128MiB"}},
		"size too large":    {given{file: "max_message: 1GiB"}, []string{`max_message: found "1GiB"`}},
		"size overflow":     {given{file: "queue_memory: 9999999999TiB"}, []string{"queue_memory: found"}},
		"bad list":          {given{file: "websocket: {allowed_origins: [1]}"}, []string{"websocket.allowed_origins: found a list, expected a list of text"}},
		"heartbeat":         {given{file: "amqp: {heartbeat: 1500ms}"}, []string{`amqp.heartbeat: found "1500ms", expected whole seconds such as 10s or 1m30s, from 1s to 18h12m15s, or off`}},
		"long heartbeat":    {given{args: []string{"--amqp-heartbeat", "24h"}}, []string{`--amqp-heartbeat: found "24h"`}},
		"small frame":       {given{file: "amqp: {frame_max: 4095}"}, []string{"amqp.frame_max: found 4095, expected a size", "from 4KiB to 1GiB"}},
		"no channels":       {given{environ: []string{"PORTICO_AMQP_CHANNEL_MAX=0"}}, []string{`PORTICO_AMQP_CHANNEL_MAX: found "0", expected a number from 1 to 65535`}},
		"many channels":     {given{file: "amqp: {channel_max: 65536}"}, []string{"amqp.channel_max: found 65536"}},
		"channels as text":  {given{file: "amqp: {channel_max: many}"}, []string{`amqp.channel_max: found "many"`}},
		"endless handshake": {given{file: "amqp: {handshake_timeout: off}"}, []string{`amqp.handshake_timeout: found "off"`, "from 1ms to 24h"}},
		"consumer timeout":  {given{file: "amqp: {consumer_timeout: 0s}"}, []string{`amqp.consumer_timeout: found "0s"`, "from 1ms to 8760h, or off"}},
		"version a number":  {given{file: "amqp: {version: 3.13}"}, []string{"amqp.version: found 3.13, expected text"}},
		"no product":        {given{environ: []string{"PORTICO_AMQP_PRODUCT="}}, []string{`PORTICO_AMQP_PRODUCT: found "", expected text`}},
		"empty data_dir":    {given{file: "data_dir:"}, []string{"data_dir: found nothing, expected text"}},
		"hidden mistake":    {given{file: "durability: maybe", args: []string{"--durability", "os"}}, []string{"durability"}},
		"several":           {given{file: "a: 1\nlog: {level: loud}"}, []string{"a: unknown key", `log.level: found "loud"`}},
		"public door":       {given{args: []string{"--http-listen", "0.0.0.0:80"}}, []string{`http.listen: found "0.0.0.0:80"`, "no users are configured", "127.0.0.1"}},
		"every interface":   {given{file: "amqp: {listen: ':5672'}"}, []string{`amqp.listen: found ":5672"`, "users"}},
		"a name":            {given{file: "mqtt: {listen: 'broker.example:1883'}"}, []string{"mqtt.listen"}},
		"tenant field":      {given{file: "tenants: [{name: a, limit: 5}]"}, []string{"tenants", "limit"}},
		"tenant twice":      {given{file: "tenants: [{name: a}, {name: a}]"}, []string{`tenant "a": named twice`}},
		"user field":        {given{file: "users: [{name: a, pasword: hunter2}]"}, []string{"users[0].pasword: unknown key; did you mean password?"}},
		"user without name": {given{file: "users: [{password: hunter2}]"}, []string{"users[0].name: found nothing"}},
		"user bare":         {given{file: "users: [{name: a}]"}, []string{"users[0] (a): expected one of password and password_hash"}},
		"user with both":    {given{file: "users: [{name: a, password: hunter2, password_hash: hunter2}]"}, []string{"users[0] (a): expected one of"}},
		"user twice":        {given{file: "users: [{name: a, password: hunter2}, {name: a, password: hunter2}]"}, []string{`users[1].name: found "a" a second time`}},
		"password a number": {given{file: "users: [{name: a, password: 4711}]"}, []string{"users[0].password: found something that is not text, expected text in quotes"}},
		"no hash":           {given{file: "users: [{name: a, password_hash: hunter2}]"}, []string{"users[0].password_hash (a): expected a bcrypt hash"}},
		"permission":        {given{file: "users: [{name: a, password: b, permissions: {publish: [x]}}]"}, []string{"users[0].permissions: publish: found array, expected Lists"}},
		"permission field":  {given{file: "users: [{name: a, password: b, permissions: {publsh: {}}}]"}, []string{"users[0].permissions: unknown field \"publsh\""}},
		"permission action": {given{file: "users: [{name: a, password: b, permissions: {queue: {eat: {allow: [x]}}}}]"}, []string{"users[0].permissions: queue.eat: want one of append, consume"}},
		"permission regex":  {given{file: "users: [{name: a, password: b, permissions: {amqp: [{read: '(?=x)'}]}}]"}, []string{"users[0].permissions: amqp[0].read", "RE2"}},
		"bad pattern":       {given{file: "users: [{name: a, password: hunter2, publish: ['a..b']}]"}, []string{`users[0].publish[0]: found "a..b", expected a subject pattern`}},
		"hook field":        {given{file: "hooks: [{name: a, knd: github}]"}, []string{"hooks[0].knd: unknown key; did you mean kind?"}},
		"hook kind":         {given{file: "hooks: [{name: a, kind: gitlab, secrets: [hunter2hunter2]}]"}, []string{`hooks[0] (a): kind: found "gitlab", expected one of`}},
		"hook secret":       {given{file: "hooks: [{name: a, kind: github, secrets: [hunter2]}]"}, []string{"hooks[0] (a): secrets[0]: expected at least 8 bytes"}},
		"hook one secret":   {given{file: "hooks: [{name: a, kind: github, secrets: hunter2hunter2}]"}, []string{"hooks[0].secrets: found text, expected a list"}},
		"hook twice":        {given{file: "hooks: [{name: a, kind: github, secrets: [hunter2hunter2]}, {name: a, kind: github, secrets: [hunter2hunter2]}]"}, []string{`hooks[1].name: found "a" a second time`}},
		"hook tolerance":    {given{file: "hooks: [{name: a, kind: github, secrets: [hunter2hunter2], tolerance: 5}]"}, []string{"hooks[0].tolerance", "a duration such as 5m"}},
		"hook hmac":         {given{file: "hooks: [{name: a, kind: hmac, secrets: [hunter2hunter2], hmac: {hedder: x}}]"}, []string{"hooks[0].hmac.hedder: unknown key; did you mean header?"}},
		"hook subject":      {given{file: "hooks: [{name: a, kind: github, secrets: [hunter2hunter2], subject: '{type}'}]"}, []string{"hooks[0] (a): subject"}},
		"hooks no list":     {given{environ: []string{"PORTICO_HOOKS=hunter2"}}, []string{"PORTICO_HOOKS: hooks: found text, expected a list of hooks"}},
		"users no list":     {given{environ: []string{"PORTICO_USERS=hunter2"}}, []string{"PORTICO_USERS: users: found text, expected a list of users"}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, err := c.given.load(t)
			if err == nil {
				t.Fatalf("accepted as %+v", cfg)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q\ndoes not say %q", err, want)
				}
			}
			told := regexp.MustCompile(`\S*portico\.yaml`).ReplaceAllString(err.Error(), "the file") // its folder's name is made of any digits
			for _, secret := range []string{"hunter2", "4711"} {
				if strings.Contains(told, secret) {
					t.Errorf("error %q shows a password", err)
				}
			}
		})
	}
}

func TestAccepted(t *testing.T) {
	hash, err := bcrypt.GenerateFromPassword([]byte("hunter2"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	for name, g := range map[string]given{
		"public with users":    {file: "http: {listen: ':80'}\nusers: [{name: a, password: b}]"},
		"hash":                 {file: "users: [{name: a, password_hash: '" + string(hash) + "'}]"},
		"loopback by name":     {file: "http: {listen: 'localhost:0'}"},
		"loopback v6":          {file: "http: {listen: '[::1]:0'}"},
		"closed":               {file: "http: {listen: off}"},
		"empty section":        {file: "http:\ngrpc: {}\n"},
		"empty file":           {file: "# nothing yet\n"},
		"number as number":     {file: "amqp: {channel_max: 1, heartbeat: off, consumer_timeout: 48h}"},
		"size as number":       {file: "max_message: 65536"},
		"wildcards":            {file: "users: [{name: a, password: b, publish: ['a.*.c', '>', '*']}]"},
		"Kubernetes variables": {environ: []string{"PORTICO_PORT=tcp://10.0.0.1:80", "PORTICO_SERVICE_HOST=10.0.0.1", "PORTICO_PORT_80_TCP=x", "PORTICO_CONFIG="}},
		"no users":             {environ: []string{"PORTICO_USERS="}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := g.load(t); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "7": 7, "7B": 7, "64KiB": 65536, "50MB": 50_000_000, "1 GiB": 1 << 30, "2TB": 2e12} {
		if got, ok := parseSize(text); !ok || got != want {
			t.Errorf("parseSize(%q) = %d, %v, want %d", text, got, ok, want)
		}
		if got, ok := parseSize(formatSize(want)); !ok || got != want {
			t.Errorf("%d is written as %q and read back as %d, %v", want, formatSize(want), got, ok)
		}
	}
	for _, text := range []string{"", "MiB", "-1", "1.5MiB", "1 MiB x", "9223372036854775807KiB"} {
		if got, ok := parseSize(text); ok {
			t.Errorf("parseSize(%q) = %d, want a refusal", text, got)
		}
	}
}

// TestDocumentation: every key is explained, with its variable, its flag and its default.
func TestDocumentation(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("..", "..", "docs", "configuration.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range options() {
		row := ""
		for line := range strings.Lines(string(raw)) {
			if strings.HasPrefix(line, "| `"+o.key+"` |") {
				row = line
			}
		}
		for _, want := range []string{"`" + o.env() + "`", "`--" + o.flag() + "`", o.preset} {
			if !strings.Contains(row, want) {
				t.Errorf("docs/configuration.md: the row of %s does not mention %s", o.key, want)
			}
		}
	}
}
