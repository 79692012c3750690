package foreign

import (
	"bufio"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"portico/test/gateway"
)

// tools are the programs of the examples that Debian has, with their packages. Examples of other programs are not run here.
var tools = map[string]string{
	"curl": "curl", "amqp-publish": "amqp-tools", "amqp-consume": "amqp-tools", "mosquitto_pub": "mosquitto-clients",
}

// TestReadme runs the README's examples as typed, but for the ports.
func TestReadme(t *testing.T) {
	for tool, pkg := range tools {
		gateway.Needs(t, pkg, tool)
	}
	g := gateway.Start(t)
	ports := strings.NewReplacer(
		"127.0.0.1:8080", strings.TrimPrefix(g.Doors["HTTP"], "http://"),
		"127.0.0.1:5672", strings.TrimPrefix(g.Doors["AMQP"], "amqp://guest:guest@"),
		"-p 1883", "-p "+g.Doors["MQTT"][strings.LastIndex(g.Doors["MQTT"], ":")+1:],
	)
	ran := 0
	for _, line := range shellLines(t, filepath.Join("..", "..", "README.md")) {
		if _, ok := tools[strings.Fields(line)[0]]; ok {
			out := client(t, "", "sh", "-c", failing(ports.Replace(line)))
			t.Logf("$ %s\n%s", line, out)
			ran++
		}
	}
	if ran < 8 {
		t.Errorf("ran %d examples: the README has more", ran)
	}
}

// failing makes curl fail on an error status, which it does not do as one types it.
func failing(line string) string {
	if rest, ok := strings.CutPrefix(line, "curl "); ok {
		return "curl -sS --fail-with-body " + rest
	}
	return line
}

// shellLines are the lines of the sh blocks of a Markdown file.
func shellLines(t *testing.T, path string) (all []string) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	inside := false
	for line := range strings.Lines(string(raw)) {
		switch line = strings.TrimSpace(line); {
		case strings.HasPrefix(line, "```"):
			inside = line == "```sh"
		case inside && line != "":
			all = append(all, line)
		}
	}
	return all
}

// TestLinesToTry runs the lines that the gateway prints on start, and expects a greeting from each.
func TestLinesToTry(t *testing.T) {
	g := gateway.Start(t)
	resp, err := http.Get(g.Doors["HTTP"] + "/v1/subscribe?subject=greet.you")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	events := make(chan string, 16)
	go func() {
		defer close(events)
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			if data, ok := strings.CutPrefix(lines.Text(), "data:"); ok {
				events <- data
			}
		}
	}()
	for _, door := range []string{"HTTP", "gRPC", "AMQP", "NATS", "MQTT", "STOMP"} {
		t.Run(door, func(t *testing.T) {
			line := g.Try[door]
			tool := strings.Fields(line)[0]
			if pkg, ok := tools[tool]; ok {
				gateway.Needs(t, pkg, tool)
			} else if _, err := exec.LookPath(tool); err != nil {
				t.Skipf("%s is not installed, and is no package of Debian's", tool)
			}
			client(t, "", "sh", "-c", failing(line))
			select {
			case data := <-events:
				var m struct{ Subject, Data string }
				if err := json.Unmarshal([]byte(data), &m); err != nil || m.Subject != "greet.you" || m.Data != "hello" {
					t.Errorf("received %s (%v), want hello on greet.you", data, err)
				}
			case <-time.After(deadline):
				t.Errorf("received nothing after: %s", line)
			}
		})
	}
}
