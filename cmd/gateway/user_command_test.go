package main

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"portico/test/gateway"
)

// asked runs a command as somebody at a terminal does, with what they type.
func asked(t *testing.T, typed string, environ []string, args ...string) (string, error) {
	t.Helper()
	cmd := command(environ)
	cmd.SetArgs(args)
	var out, log bytes.Buffer
	cmd.SetIn(strings.NewReader(typed))
	cmd.SetOut(&out)
	cmd.SetErr(&log)
	err := cmd.ExecuteContext(context.Background())
	return out.String(), err
}

func TestUserCommands(t *testing.T) {
	g := gateway.Run(t, program())
	guest := []string{"PORTICO_URL=" + g.Doors["HTTP"]}
	root := append(guest, "PORTICO_LOGIN=root:secret")
	do := func(typed string, environ []string, args ...string) string {
		t.Helper()
		out, err := asked(t, typed, environ, append([]string{"user"}, args...)...)
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		return out
	}
	do("secret\n", guest, "add", "root", "--role", "administrator")
	password := strings.TrimSpace(do("", root, "add", "ann o'nym", "--generate", "--publish", "a.>", "--publish", "b"))
	list := do("", root, "list")
	if !strings.Contains(list, "root") || !strings.Contains(list, "administrator") || !strings.Contains(list, "a.>,b") {
		t.Errorf("list:\n%s", list)
	}
	for name, c := range map[string]struct {
		typed   string
		environ []string
		args    []string
		want    string
	}{
		"the guest is gone":      {"", guest, []string{"list"}, "401"},
		"no administrator":       {"", append(guest, "PORTICO_LOGIN=ann o'nym:"+password), []string{"list"}, "403"},
		"twice":                  {"x\n", root, []string{"add", "root"}, "there is a user"},
		"no password":            {"", root, []string{"add", "bob"}, "first line of the standard input"},
		"a long password":        {strings.Repeat("x", 2000) + "\n", root, []string{"add", "bob"}, "more than 1024 bytes"},
		"nobody":                 {"x\n", root, []string{"passwd", "nobody"}, "404"},
		"the last administrator": {"", root, []string{"delete", "root"}, "administrator"},
		"no such token":          {"", root, []string{"token", "revoke", "root", "x"}, "404"},
		"no gateway":             {"", []string{"PORTICO_URL=http://127.0.0.1:1"}, []string{"list"}, "ask the gateway"},
		"no URL":                 {"", []string{"PORTICO_URL=ftp://127.0.0.1"}, []string{"list"}, "--url"},
		"no such file":           {"", root, []string{"list", "--ca", "/nowhere"}, "--ca"},
	} {
		if _, err := asked(t, c.typed, c.environ, append([]string{"user"}, c.args...)...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	token := strings.TrimSpace(do("", root, "token", "create", "root", "--label", "backup", "--expires", "1h"))
	byToken := append(guest, "PORTICO_TOKEN="+token)
	do("another\n", byToken, "passwd", "ann o'nym")
	if list := do("", byToken, "list"); !strings.Contains(list, "a.>,b") {
		t.Errorf("with another password the user is another:\n%s", list)
	}
	tokens := do("", byToken, "token", "list", "root")
	id, _, _ := strings.Cut(strings.Split(tokens, "\n")[1], " ")
	if !strings.Contains(tokens, "backup") || strings.Contains(tokens, token) {
		t.Errorf("tokens:\n%s", tokens)
	}
	do("", root, "token", "revoke", "root", id)
	if _, err := asked(t, "", byToken, "user", "list"); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("by a revoked token: %v", err)
	}
	do("", root, "delete", "ann o'nym")
	if log := g.Log(); strings.Contains(log, password) || strings.Contains(log, token) || strings.Contains(log, "secret") {
		t.Errorf("the log has a secret:\n%s", log)
	}
}
