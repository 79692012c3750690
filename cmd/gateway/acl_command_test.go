package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestACLTest(t *testing.T) {
	file := filepath.Join(t.TempDir(), "portico.yaml")
	if err := os.WriteFile(file, []byte(`
users:
  - name: ann
    password: x
    publish: [orders.>]
    permissions:
      publish: {deny: [orders.secret.>]}
      queue: {consume: {allow: ["jobs*"]}}
      amqp: [{vhost: /, configure: "^mine", write: ".*", read: ".*"}]
`), 0o600); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{
		"publish orders.new":                               `allowed: publish orders.new at http by publish.allow[0] "orders.>"`,
		"publish orders.secret.x":                          `denied: publish orders.secret.x at http by publish.deny[0] "orders.secret.>"`,
		"--door nats publish orders.new":                   "allowed: publish orders.new at nats by NATS publish allow orders.>",
		"consume jobs.eu":                                  `allowed: consume jobs.eu at http by queue.consume.allow[0] "jobs*"`,
		"consume mail":                                     "denied: consume mail at http by queue.consume.allow names nothing that fits",
		"--door amqp queue.declare yours":                  `denied: queue.declare yours at amqp by amqp[0].configure "^mine"`,
		"--door amqp --key new exchange.write orders":      "allowed: exchange.write orders at amqp by publish.allow[0]",
		"--door amqp --key secret.x exchange.write orders": `denied: exchange.write orders at amqp by publish.deny[0]`,
		"administer":                                       "denied: administer  at http by no role for this",
		"eat jobs":                                         "",
		"--door window publish a":                          "",
	} {
		t.Run(args, func(t *testing.T) {
			var out, log bytes.Buffer
			err := run(t.Context(), append([]string{"acl", "test", "--config", file, "--user", "ann"}, strings.Fields(args)...), nil, &out, &log)
			switch {
			case want == "":
				if err == nil || errors.Is(err, errDenied) {
					t.Errorf("%v, want another error", err)
				}
			case !strings.HasPrefix(out.String(), want) || errors.Is(err, errDenied) != strings.HasPrefix(want, "denied"):
				t.Errorf("%q, %v, want %s", out.String(), err, want)
			}
		})
	}
	if err := run(t.Context(), []string{"acl", "test", "--config", file, "--user", "eve", "publish", "a"}, nil, new(bytes.Buffer), new(bytes.Buffer)); err == nil || !strings.Contains(err.Error(), "eve") {
		t.Errorf("an unknown user: %v", err)
	}
}
