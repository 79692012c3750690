package main

import (
	"context"
	"io"
	"strings"
	"testing"
)

func TestRelayCommandLine(t *testing.T) {
	for name, c := range map[string]struct{ line, says string }{
		"nothing":           {"", "--server is missing"},
		"something else":    {"--server 127.0.0.1:1 start", "unknown command"},
		"no port":           {"--server here", "want host:port"},
		"a flag that isn't": {"--sever x", "--sever"},
	} {
		t.Run(name, func(t *testing.T) {
			err := run(context.Background(), append([]string{"relay"}, strings.Fields(c.line)...), nil, io.Discard, io.Discard)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want that %s", err, c.says)
			}
		})
	}
}

func TestRelayLogin(t *testing.T) {
	if relayLogin([]string{"PORTICO_LOGIN="}) != nil {
		t.Error("without a name there are no credentials")
	}
	md, err := relayLogin([]string{"A=b", "PORTICO_LOGIN=ann:secret"})(context.Background())
	if err != nil || md["authorization"] != "Basic YW5uOnNlY3JldA==" {
		t.Errorf("got %v, %v", md, err)
	}
}
