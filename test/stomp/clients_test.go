// Package stomp tests what shares the HTTP port by subprotocol, and STOMP, with clients that others wrote, against the real program.
package stomp

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"portico/test/gateway"
)

// npmClients are what the program in testdata uses, in the versions that the wanted lines were seen with.
var npmClients = [...]string{"@nats-io/nats-core@3.4.0", "@stomp/stompjs@7.5.0", "mqtt@5.16.0", "ws@8.23.0"}

const tripDeadline = 90 * time.Second

// TestClientsFromNPM: unmodified nats.js, @stomp/stompjs and mqtt.js on the one port publish, subscribe, request and work on a queue, and are back after a restart.
func TestClientsFromNPM(t *testing.T) {
	node, npm := gateway.Needs(t, "nodejs", "node"), gateway.Needs(t, "npm", "npm")
	dir := t.TempDir()
	program, err := os.ReadFile(filepath.Join("testdata", "clients.mjs"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "clients.mjs"), program, 0o644); err != nil {
		t.Fatal(err)
	}
	install(t, npm, dir, npmClients[:]...)
	binary := gateway.Build(t)
	g := gateway.Run(t, exec.Command(binary))
	address := strings.TrimPrefix(g.Doors["HTTP"], "http://")
	got := follow(t, exec.Command(node, filepath.Join(dir, "clients.mjs"), "ws://"+address), func() {
		stop(t, g)
		g = gateway.RunIn(t, g.Dir, exec.Command(binary, "--http-listen", address))
	})
	if want := npmLines(); !slices.Equal(got, want) {
		t.Errorf("told\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

func npmLines() []string {
	hear := func(word string) (lines []string) {
		for _, from := range []string{"nats", "stomp", "mqtt"} {
			lines = append(lines, "heard page."+from+" "+word, "heard /topic/page."+from+" "+word, "heard page/"+from+" "+word)
		}
		return lines
	}
	return slices.Concat(
		[]string{"nats connected", "stomp connected 1.2", "mqtt connected"}, hear("hello"),
		[]string{"nats asks 42", "stomp asks 8", "kept a", "kept b", "job a false", "job a true", "done a", "job b false"},
		[]string{"restart me", "all are back", "job b true", "done b"}, hear("again"), []string{"done"})
}

func install(t *testing.T, npm, dir string, packages ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), tripDeadline)
	defer cancel()
	args := append([]string{"install", "--no-save", "--no-audit", "--no-fund", "--loglevel=error", "--prefix", dir}, packages...)
	if out, err := exec.CommandContext(ctx, npm, args...).CombinedOutput(); err != nil {
		t.Fatalf("npm: %v\n%s", err, out)
	}
}

// follow runs a program to its end and returns the lines it prints. The line "restart me" asks for a restart of the gateway.
func follow(t *testing.T, cmd *exec.Cmd, restart func()) (lines []string) {
	t.Helper()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(tripDeadline, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	for in := bufio.NewScanner(out); in.Scan(); {
		lines = append(lines, in.Text())
		if in.Text() == "restart me" {
			restart()
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v after\n\t%s\n%s", err, strings.Join(lines, "\n\t"), stderr.String())
	}
	return lines
}

// stop ends the gateway as an operator does.
func stop(t *testing.T, g *gateway.Gateway) {
	t.Helper()
	g.Signal(t, syscall.SIGTERM)
	g.Wait(t)
}

// TestStompitOverTCP: an unmodified STOMP client for servers.
func TestStompitOverTCP(t *testing.T) {
	node, npm := gateway.Needs(t, "nodejs", "node"), gateway.Needs(t, "npm", "npm")
	dir := t.TempDir()
	program, err := os.ReadFile(filepath.Join("testdata", "tcp.mjs"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "tcp.mjs"), program, 0o644); err != nil {
		t.Fatal(err)
	}
	install(t, npm, dir, "stompit@1.0.0")
	g := gateway.Start(t)
	got := follow(t, exec.Command(node, filepath.Join(dir, "tcp.mjs"), strings.TrimPrefix(g.Doors["STOMP"], "stomp://")), nil)
	want := []string{"connected", "kept one", "kept two", "got one a:b false", "got two a:b false", "got two a:b true", "done"}
	if !slices.Equal(got, want) {
		t.Errorf("told\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}
