package inbound_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"portico/adapters/http/inbound"
)

// delivery is a webhook on its way, with the source it is for.
type delivery struct {
	source inbound.Source
	header map[string]string
	body   string
	now    time.Time
}

func (d delivery) verify() (inbound.Event, error) {
	source, err := d.source.Checked()
	if err != nil {
		return inbound.Event{}, fmt.Errorf("source: %w", err)
	}
	h := http.Header{}
	for name, value := range d.header {
		h.Set(name, value)
	}
	return inbound.Verify(&source, h, []byte(d.body), d.now)
}

// with returns d with one header changed; "" takes it out.
func (d delivery) with(name, value string) delivery {
	changed := map[string]string{}
	for k, v := range d.header {
		changed[k] = v
	}
	if changed[name] = value; value == "" {
		delete(changed, name)
	}
	d.header = changed
	return d
}

const slackForm = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA" +
	"&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN" +
	"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"

// published are the vectors that the providers document.
func published() map[string]struct {
	delivery
	id, eventType    string
	signature, clock string // headers; clock "": nothing signed says when
} {
	return map[string]struct {
		delivery
		id, eventType    string
		signature, clock string
	}{
		"github": {delivery{
			inbound.Source{Name: "gh", Kind: inbound.KindGitHub, Secrets: []string{"It's a Secret to Everybody"}},
			map[string]string{
				"X-Hub-Signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
				"X-GitHub-Event":      "push", "X-GitHub-Delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958",
			}, "Hello, World!", time.Unix(1_700_000_000, 0),
		}, "72d3162e-cc78-11e3-81ab-4c9367dc0958", "push", "X-Hub-Signature-256", ""},
		"slack": {delivery{
			inbound.Source{Name: "sl", Kind: inbound.KindSlack, Secrets: []string{"8f742231b10e8888abcd99yyyzzz85a5"}},
			map[string]string{
				"X-Slack-Signature":         "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
				"X-Slack-Request-Timestamp": "1531420618",
			}, slackForm, time.Unix(1531420618+10, 0),
		}, "*", "slash_command", "X-Slack-Signature", "X-Slack-Request-Timestamp"},
		"standard webhooks": {delivery{
			inbound.Source{Name: "sw", Kind: inbound.KindStandard, Secrets: []string{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}},
			map[string]string{
				"webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp": "1614265330",
				"webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
			}, `{"test": 2432232314}`, time.Unix(1614265330-10, 0),
		}, "msg_p5jXN8AQM9LWM0D4loKWxJek", "", "webhook-signature", "webhook-timestamp"},
	}
}

func TestPublishedVectors(t *testing.T) {
	for name, v := range published() {
		t.Run(name, func(t *testing.T) {
			e, err := v.verify()
			if err != nil {
				t.Fatal(err)
			}
			if e.Type != v.eventType || v.id != "*" && e.ID != v.id || e.ID == "" {
				t.Errorf("event %+v, want id %s, type %q", e, v.id, v.eventType)
			}
		})
	}
}

// flip changes one character of text so that it stays of its alphabet.
func flip(text string, at int) string {
	c := byte('1')
	if text[at] == '1' {
		c = '2'
	}
	return text[:at] + string(c) + text[at+1:]
}

func TestTampered(t *testing.T) {
	for name, v := range published() {
		signature := v.header[v.signature]
		cases := map[string]struct {
			d    delivery
			want error
		}{
			"signature":      {v.with(v.signature, flip(signature, len(signature)-10)), inbound.ErrSignature},
			"no signature":   {v.with(v.signature, ""), inbound.ErrSignature},
			"half signature": {v.with(v.signature, signature[:len(signature)/2]), inbound.ErrSignature},
			"junk":           {v.with(v.signature, "%%%"), inbound.ErrSignature},
		}
		body := v.delivery
		body.body = flip(body.body, 3)
		longer := v.delivery
		longer.body += "\n"
		secret := v.delivery
		secret.source.Secrets = []string{flip(secret.source.Secrets[0], 8)}
		cases["body"], cases["longer body"], cases["secret"] = struct {
			d    delivery
			want error
		}{body, inbound.ErrSignature}, struct {
			d    delivery
			want error
		}{longer, inbound.ErrSignature}, struct {
			d    delivery
			want error
		}{secret, inbound.ErrSignature}
		if v.clock != "" {
			cases["time"] = struct {
				d    delivery
				want error
			}{v.with(v.clock, flip(v.header[v.clock], len(v.header[v.clock])-1)), inbound.ErrSignature}
			cases["no time"] = struct {
				d    delivery
				want error
			}{v.with(v.clock, ""), inbound.ErrSignature}
			cases["time is text"] = struct {
				d    delivery
				want error
			}{v.with(v.clock, "yesterday"), inbound.ErrSignature}
			for what, by := range map[string]time.Duration{"late": 6 * time.Minute, "early": -6 * time.Minute} {
				moved := v.delivery
				moved.now = moved.now.Add(by)
				cases[what] = struct {
					d    delivery
					want error
				}{moved, inbound.ErrStale}
			}
		}
		for what, c := range cases {
			t.Run(name+"/"+what, func(t *testing.T) {
				if e, err := c.d.verify(); !errors.Is(err, c.want) {
					t.Errorf("%+v, %v; want %v", e, err, c.want)
				}
			})
		}
	}
}

func TestRotation(t *testing.T) {
	for name, v := range published() {
		t.Run(name, func(t *testing.T) {
			d := v.delivery
			d.source.Secrets = []string{"whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", d.source.Secrets[0]}
			if _, err := d.verify(); err != nil {
				t.Errorf("the older of two secrets: %v", err)
			}
		})
	}
}

// sign makes a signature with openssl, so that our own code does not check itself.
func sign(t *testing.T, algorithm, secret, content string) string {
	t.Helper()
	path, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not there to sign independently")
	}
	cmd := exec.CommandContext(t.Context(), path, "dgst", "-"+algorithm, "-mac", "HMAC", "-macopt", "hexkey:"+hex.EncodeToString([]byte(secret)), "-hex")
	cmd.Stdin = strings.NewReader(content)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("openssl: %v", err)
	}
	fields := bytes.Fields(out)
	return string(fields[len(fields)-1])
}

func TestStripe(t *testing.T) {
	const secret, body = "whsec_wRNftLajMZNeslQOP6vEPm4iVx5NlZ6z", `{"id":"evt_1","object":"event","type":"invoice.paid","data":{}}`
	mac := sign(t, "sha256", secret, "1700000000."+body)
	other := strings.Repeat("0", 64)
	d := delivery{inbound.Source{Name: "s", Kind: inbound.KindStripe, Secrets: []string{secret}}, nil, body, time.Unix(1_700_000_200, 0)}
	for name, c := range map[string]struct {
		header string
		want   error
	}{
		"plain":           {"t=1700000000,v1=" + mac, nil},
		"with test mode":  {"t=1700000000,v1=" + mac + ",v0=" + other, nil},
		"rolled secret":   {"t=1700000000,v1=" + other + ",v1=" + mac, nil},
		"only v0":         {"t=1700000000,v0=" + mac, inbound.ErrSignature},
		"another time":    {"t=1700000001,v1=" + mac, inbound.ErrSignature},
		"two times":       {"t=1700000000,t=1700000001,v1=" + mac, inbound.ErrSignature},
		"no time":         {"v1=" + mac, inbound.ErrSignature},
		"negative time":   {"t=-1,v1=" + mac, inbound.ErrSignature},
		"signed time":     {"t=+1700000000,v1=" + mac, inbound.ErrSignature},
		"another mac":     {"t=1700000000,v1=" + other, inbound.ErrSignature},
		"stale":           {"t=1699999000,v1=" + mac, inbound.ErrStale},
		"from the future": {"t=1700001000,v1=" + mac, inbound.ErrStale},
		"nothing":         {"", inbound.ErrSignature},
		"commas":          {",,,=,", inbound.ErrSignature},
	} {
		t.Run(name, func(t *testing.T) {
			e, err := d.with("Stripe-Signature", c.header).verify()
			if !errors.Is(err, c.want) {
				t.Fatalf("%v, want %v", err, c.want)
			}
			if err == nil && (e.ID != "evt_1" || e.Type != "invoice.paid") {
				t.Errorf("event %+v", e)
			}
		})
	}
	good := d.with("Stripe-Signature", "t=1700000000,v1="+mac)
	forged := good
	forged.body = flip(body, 12)
	if _, err := forged.verify(); !errors.Is(err, inbound.ErrSignature) {
		t.Errorf("another body: %v", err)
	}
	forged = good
	forged.source.Secrets = []string{flip(secret, 10)}
	if _, err := forged.verify(); !errors.Is(err, inbound.ErrSignature) {
		t.Errorf("another secret: %v", err)
	}
}

func TestGenericHMAC(t *testing.T) {
	const secret, body, at = "a secret of ours", `{"type":"order.created","n":1}`, "1700000000"
	for name, c := range map[string]struct {
		hmac    inbound.HMAC
		id      string
		content string // what is signed
		prefix  string
	}{
		"defaults":  {inbound.HMAC{Header: "X-Sig"}, "", body, ""},
		"prefix":    {inbound.HMAC{Header: "X-Sig", Prefix: "sha256="}, "", body, "sha256="},
		"sha512":    {inbound.HMAC{Header: "X-Sig", Algorithm: "sha512"}, "", body, ""},
		"sha1":      {inbound.HMAC{Header: "X-Sig", Algorithm: "sha1"}, "", body, ""},
		"timestamp": {inbound.HMAC{Header: "X-Sig", TimestampHeader: "X-Time"}, "", at + "." + body, ""},
		"template":  {inbound.HMAC{Header: "X-Sig", TimestampHeader: "X-Time", Content: "v9:{id}:{timestamp}:{body}!"}, "X-Id", "v9:d1:" + at + ":" + body + "!", ""},
	} {
		t.Run(name, func(t *testing.T) {
			algorithm := c.hmac.Algorithm
			if algorithm == "" {
				algorithm = "sha256"
			}
			d := delivery{
				inbound.Source{Name: "h", Kind: inbound.KindHMAC, Secrets: []string{secret}, IDHeader: c.id, HMAC: c.hmac},
				map[string]string{"X-Sig": c.prefix + sign(t, algorithm, secret, c.content), "X-Time": at, "X-Id": "d1"}, body, time.Unix(1_700_000_100, 0),
			}
			e, err := d.verify()
			if err != nil || e.Type != "order.created" {
				t.Fatalf("%+v, %v", e, err)
			}
			if want := map[bool]string{true: "d1"}[c.id != ""]; c.hmac.TimestampHeader == "" && e.ID != want {
				t.Errorf("id %q, want %q", e.ID, want)
			}
			if c.hmac.TimestampHeader != "" {
				late := d
				late.now = late.now.Add(time.Hour)
				if _, err := late.verify(); !errors.Is(err, inbound.ErrStale) {
					t.Errorf("late: %v", err)
				}
				if _, err := d.with("X-Time", "1700000001").verify(); !errors.Is(err, inbound.ErrSignature) {
					t.Errorf("another time: %v", err)
				}
			}
			mac := d.header["X-Sig"]
			if _, err := d.with("X-Sig", flip(mac, len(mac)-1)).verify(); !errors.Is(err, inbound.ErrSignature) {
				t.Errorf("another signature: %v", err)
			}
			forged := d
			forged.source.Secrets = []string{secret + "!"}
			if _, err := forged.verify(); !errors.Is(err, inbound.ErrSignature) {
				t.Errorf("another secret: %v", err)
			}
			d.body += " "
			if _, err := d.verify(); !errors.Is(err, inbound.ErrSignature) {
				t.Errorf("another body: %v", err)
			}
		})
	}
}

func TestBase64AndMilliseconds(t *testing.T) {
	const secret, body = "a secret of ours", "x"
	mac, err := hex.DecodeString(sign(t, "sha256", secret, "1700000000123."+body))
	if err != nil {
		t.Fatal(err)
	}
	d := delivery{
		inbound.Source{Name: "h", Kind: inbound.KindHMAC, Secrets: []string{secret}, HMAC: inbound.HMAC{Header: "X-Sig", Encoding: "base64", TimestampHeader: "X-Time"}},
		map[string]string{"X-Sig": base64Of(mac), "X-Time": "1700000000123"}, body, time.Unix(1_700_000_000, 0),
	}
	e, err := d.verify()
	if err != nil {
		t.Fatal(err)
	}
	if e.ID == "" {
		t.Error("a delivery with a signed time has no id")
	}
}

func TestCredentials(t *testing.T) {
	basic := inbound.Source{Name: "b", Kind: inbound.KindBasic, Secrets: []string{"old:pass:word", "ann:secret"}, IDHeader: "X-Id"}
	bearer := inbound.Source{Name: "b", Kind: inbound.KindBearer, Secrets: []string{"a-long-token"}}
	for name, c := range map[string]struct {
		source inbound.Source
		header string
		ok     bool
	}{
		"basic":          {basic, "Basic " + base64Of([]byte("ann:secret")), true},
		"basic rotated":  {basic, "basic " + base64Of([]byte("old:pass:word")), true},
		"basic wrong":    {basic, "Basic " + base64Of([]byte("ann:secrets")), false},
		"basic no user":  {basic, "Basic " + base64Of([]byte("ann")), false},
		"basic junk":     {basic, "Basic %%", false},
		"basic nothing":  {basic, "", false},
		"basic, bearer":  {basic, "Bearer a-long-token", false},
		"bearer":         {bearer, "Bearer a-long-token", true},
		"bearer wrong":   {bearer, "Bearer a-long-toke", false},
		"bearer nothing": {bearer, "", false},
		"bearer empty":   {bearer, "Bearer ", false},
	} {
		t.Run(name, func(t *testing.T) {
			d := delivery{c.source, map[string]string{"Authorization": c.header, "X-Id": "7"}, `{"type":"x"}`, time.Now()}
			e, err := d.verify()
			if (err == nil) != c.ok || err != nil && !errors.Is(err, inbound.ErrSignature) {
				t.Errorf("%+v, %v", e, err)
			}
		})
	}
}

func TestSlackChallenge(t *testing.T) {
	const secret = "8f742231b10e8888abcd99yyyzzz85a5"
	for name, c := range map[string]struct {
		body string
		want inbound.Event
	}{
		"challenge": {`{"token":"x","challenge":"3eZbrw1a","type":"url_verification"}`, inbound.Event{Type: "url_verification", Challenge: "3eZbrw1a"}},
		"event":     {`{"type":"event_callback","event_id":"Ev1","challenge":"no","event":{"type":"app_mention"}}`, inbound.Event{ID: "Ev1", Type: "app_mention"}},
		"button":    {"payload=" + "%7B%22type%22%3A%22block_actions%22%7D", inbound.Event{Type: "block_actions"}},
	} {
		t.Run(name, func(t *testing.T) {
			d := delivery{
				inbound.Source{Name: "s", Kind: inbound.KindSlack, Secrets: []string{secret}},
				map[string]string{"X-Slack-Request-Timestamp": "1700000000", "X-Slack-Signature": "v0=" + sign(t, "sha256", secret, "v0:1700000000:"+c.body)},
				c.body, time.Unix(1_700_000_000, 0),
			}
			e, err := d.verify()
			if err != nil {
				t.Fatal(err)
			}
			if c.want.ID == "" {
				c.want.ID = e.ID // made of the signature
			}
			if e != c.want || e.ID == "" {
				t.Errorf("event %+v, want %+v", e, c.want)
			}
		})
	}
}

// TestOneSignatureOneID: a header that is written in another way, and signs as well, makes no other delivery of it.
func TestOneSignatureOneID(t *testing.T) {
	const secret, body, at, milli = "a secret of ours", `{"type":"x"}`, "1700000000", "1700000000123"
	generic := func(h inbound.HMAC) inbound.Source {
		h.Header, h.TimestampHeader = "X-Sig", "X-Time"
		return inbound.Source{Name: "h", Kind: inbound.KindHMAC, Secrets: []string{secret}, HMAC: h}
	}
	kind := func(kind string) inbound.Source {
		return inbound.Source{Name: "s", Kind: kind, Secrets: []string{secret}}
	}
	slack, dotted := sign(t, "sha256", secret, "v0:"+at+":"+body), sign(t, "sha256", secret, at+"."+body)
	raw, err := hex.DecodeString(dotted)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		source inbound.Source
		header string // of the signature
		as     []string
	}{
		"slack":       {kind(inbound.KindSlack), "X-Slack-Signature", []string{"v0=" + slack, "v0=" + strings.ToUpper(slack)}},
		"stripe":      {kind(inbound.KindStripe), "Stripe-Signature", []string{"t=" + at + ",v1=" + dotted, "t=" + at + ",v1=" + dotted + ",v0=00", "v1=" + strings.ToUpper(dotted) + ", t=" + at}},
		"hmac":        {generic(inbound.HMAC{}), "X-Sig", []string{dotted, dotted + ",x", " " + strings.ToUpper(dotted)}},
		"hmac base64": {generic(inbound.HMAC{Encoding: "base64"}), "X-Sig", []string{base64Of(raw), strings.TrimRight(base64Of(raw), "="), base64Of(raw) + "=="}},
	} {
		t.Run(name, func(t *testing.T) {
			ids := map[string]bool{}
			for _, signature := range c.as {
				header := map[string]string{c.header: signature, "X-Time": at, "X-Slack-Request-Timestamp": at}
				e, err := delivery{c.source, header, body, time.Unix(1_700_000_000, 0)}.verify()
				if err != nil || e.ID == "" {
					t.Fatalf("%q: %+v, %v", signature, e, err)
				}
				ids[e.ID] = true
			}
			if len(ids) != 1 {
				t.Errorf("one delivery has the ids %v", ids)
			}
		})
	}
	other := sign(t, "sha256", secret, milli+"."+body)
	d := delivery{generic(inbound.HMAC{}), map[string]string{"X-Sig": dotted, "X-Time": at}, body, time.Unix(1_700_000_000, 0)}
	first, _ := d.verify()
	second, err := d.with("X-Sig", other).with("X-Time", milli).verify()
	if err != nil || first.ID == second.ID {
		t.Errorf("another time: %q and %q, %v", first.ID, second.ID, err)
	}
}

// TestDottedID: with a dot in the id the same signed text could be cut elsewhere.
func TestDottedID(t *testing.T) {
	d := published()["standard webhooks"].delivery
	d = d.with("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330").with("webhook-timestamp", "1614265331")
	if _, err := d.verify(); !errors.Is(err, inbound.ErrSignature) {
		t.Error(err)
	}
}

func TestRepeatedHeader(t *testing.T) {
	v := published()["github"]
	source, err := v.source.Checked()
	if err != nil {
		t.Fatal(err)
	}
	h := http.Header{}
	h.Add("X-Hub-Signature-256", v.header["X-Hub-Signature-256"])
	h.Add("X-Hub-Signature-256", "sha256=00")
	if err := inbound.Screen(&source, h, v.now); !errors.Is(err, inbound.ErrSignature) {
		t.Error(err)
	}
}

func TestLongID(t *testing.T) {
	d := published()["github"].delivery.with("X-GitHub-Delivery", strings.Repeat("x", 256))
	if _, err := d.verify(); !errors.Is(err, inbound.ErrMalformed) {
		t.Error(err)
	}
}

func FuzzVerify(f *testing.F) {
	for _, v := range published() {
		f.Add(v.source.Kind, v.header[v.signature], v.header[v.clock], v.body)
	}
	f.Fuzz(func(t *testing.T, kind, signature, clock, body string) {
		for _, v := range published() {
			d := v.with(v.signature, signature)
			if v.clock != "" {
				d = d.with(v.clock, clock)
			}
			d.body = body
			if _, err := d.verify(); err == nil && d.source.Kind != inbound.KindGitHub && (body != v.body || clock != v.header[v.clock]) {
				t.Errorf("%s: accepted %q of %q with %q", d.source.Kind, body, clock, signature)
			}
		}
	})
}
