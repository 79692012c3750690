package browser

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"portico/test/gateway"

	"github.com/chromedp/cdproto/runtime"
	"github.com/evanw/esbuild/pkg/api"
)

// Where the programs are that are run, and what a page cannot bring along.
const (
	library  = "../../web/dist/client"
	examples = "../../web/client/examples"
	where    = examples + "/where.mjs"
)

// npmClients are those that know nothing of Portico, in the versions that the wanted lines were seen with, the WebSocket of Node.js before version 22, and a tool.
var npmClients = [...]string{"@nats-io/nats-core@3.4.0", "@nats-io/jetstream@3.4.0", "@stomp/stompjs@7.5.0", "mqtt@5.16.0", "ws@8.23.0", "wscat@6.1.0"}

// A runner runs a program of JavaScript to its end, against a gateway's WebSocket address, and calls told for each line it prints.
type runner func(t *testing.T, program string, address *url.URL, told func(line string))

// runners are the places where the library has to work.
func runners(t *testing.T) map[string]runner {
	t.Helper()
	gateway.Needs(t, "npm", "npm")
	dir, err := packages()
	if err != nil {
		t.Fatal(err)
	}
	return map[string]runner{
		"node": func(t *testing.T, program string, address *url.URL, told func(string)) {
			inNode(t, dir, program, address, told)
		},
		"chromium": func(t *testing.T, program string, address *url.URL, told func(string)) {
			inChromium(t, dir, program, address, told)
		},
	}
}

// inNode runs a program with the folder's packages.
func inNode(t *testing.T, dir, program string, address *url.URL, told func(string)) {
	t.Helper()
	node := gateway.Needs(t, "nodejs", "node")
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	options := ""
	if address.Query().Has("cbor") {
		options = "cbor"
	}
	cmd := exec.CommandContext(ctx, node, bring(t, dir, program), strings.TrimSuffix(address.Scheme+"://"+address.Host+address.Path, "/"), options)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for in := bufio.NewScanner(out); in.Scan(); {
		told(in.Text())
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, stderr.String())
	}
}

// bring puts a program beside the packages, as a project has it, and returns its path there.
func bring(t *testing.T, dir, program string) string {
	t.Helper()
	for _, file := range []string{where, program} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(file)), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, filepath.Base(program))
}

// inChromium runs a program as a page of another origin. Its packages are bundled into it, since browsers do not look for any.
func inChromium(t *testing.T, dir, program string, address *url.URL, told func(string)) {
	t.Helper()
	script := bundle(t, dir, program, address)
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/":
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, `<!doctype html><title>trip</title><link rel="icon" href="data:,"><script type="module" src="program.js"></script>`)
		case "/program.js":
			w.Header().Set("Content-Type", "text/javascript")
			_, _ = w.Write(script)
		default:
			http.NotFound(w, r)
		}
	}))
	defer site.Close()
	query := url.Values{"url": {address.Scheme + "://" + address.Host + address.Path}}
	if address.Query().Has("cbor") {
		query.Set("cbor", "1")
	}
	lines := make(chan string, 1000)
	visit(t, site.URL+"/", site.URL+"/?"+query.Encode(), func(event any) {
		if line, ok := printed(event); ok {
			lines <- line
		} else if _, failed := event.(*runtime.EventExceptionThrown); failed {
			lines <- finished
		}
	})
	late := time.After(deadline)
	for {
		select {
		case line := <-lines:
			if line == finished {
				return
			}
			told(line)
		case <-late:
			t.Error("the page did not end")
			return
		}
	}
}

// finished is what a bundled program prints at its end: a page has no other.
const finished = "-- finished --"

// printed is the line that a page has written to its console.
func printed(event any) (string, bool) {
	e, ok := event.(*runtime.EventConsoleAPICalled)
	if !ok || e.Type != "log" {
		return "", false
	}
	var words []string
	for _, arg := range e.Args {
		var word any
		if err := json.Unmarshal(arg.Value, &word); err != nil {
			word = arg.Description
		}
		words = append(words, fmt.Sprint(word))
	}
	return strings.Join(words, " "), true
}

// bundle makes one script of a program, its packages and what Node.js has and browsers have not.
func bundle(t *testing.T, dir, program string, address *url.URL) []byte {
	t.Helper()
	entry := fmt.Sprintf("await import(%s); console.log(%s)", quoted(bring(t, dir, program)), quoted(finished))
	result := api.Build(api.BuildOptions{
		Stdin:         &api.StdinOptions{Contents: entry, ResolveDir: dir},
		AbsWorkingDir: dir,
		Bundle:        true,
		Format:        api.FormatESModule,
		Target:        api.ES2022,
		LogLevel:      api.LogLevelSilent,
		Define:        map[string]string{"process.argv": fmt.Sprintf(`["","",%q]`, address.Scheme+"://"+address.Host)},
		Plugins:       []api.Plugin{{Name: "page", Setup: forPages}},
	})
	for _, m := range result.Errors {
		t.Errorf("bundle %s: %s", program, m.Text)
	}
	if t.Failed() {
		t.FailNow()
	}
	return result.OutputFiles[0].Contents
}

// forPages resolves what programs import and pages do not have: the WebSocket of a package, and Node.js's timers.
func forPages(b api.PluginBuild) {
	own := map[string]string{
		"ws":                   `export default globalThis.WebSocket; export const WebSocket = globalThis.WebSocket`,
		"node:timers/promises": `export const setTimeout = (ms, value) => new Promise((resolve) => globalThis.setTimeout(resolve, ms, value))`,
	}
	b.OnResolve(api.OnResolveOptions{Filter: `^(ws|node:timers/promises)$`}, func(a api.OnResolveArgs) (api.OnResolveResult, error) {
		return api.OnResolveResult{Path: a.Path, Namespace: "page"}, nil
	})
	b.OnLoad(api.OnLoadOptions{Filter: `.*`, Namespace: "page"}, func(a api.OnLoadArgs) (api.OnLoadResult, error) {
		text := own[a.Path]
		return api.OnLoadResult{Contents: &text, Loader: api.LoaderJS}, nil
	})
}

// wanted are the lines that a program promises to print, in comments at its end.
func wanted(t *testing.T, program string) (lines []string) {
	t.Helper()
	text, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		if word, ok := strings.CutPrefix(line, "//> "); ok {
			lines = append(lines, word)
		}
	}
	if len(lines) == 0 {
		t.Fatalf("%s promises nothing", program)
	}
	return lines
}

// same fails the test unless a program printed what it promised.
func same(t *testing.T, program string, got []string) {
	t.Helper()
	if want := wanted(t, program); !slices.Equal(got, want) {
		t.Errorf("%s told\n\t%s\nwant\n\t%s", program, strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// socket is a gateway's WebSocket address.
func socket(t *testing.T, g *gateway.Gateway, path string) *url.URL {
	t.Helper()
	address, err := url.Parse(g.Doors["HTTP"] + path)
	if err != nil {
		t.Fatal(err)
	}
	address.Scheme = "ws"
	return address
}

// TestExamples: each example of the library's documentation prints what it promises, in Node.js and in a browser.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob(examples + "/*.mjs")
	if err != nil || len(files) < 5 {
		t.Fatalf("found %d examples, %v", len(files), err)
	}
	for place, run := range runners(t) {
		t.Run(place, func(t *testing.T) {
			g := gateway.Run(t, exec.Command(program(t)))
			put(t, g.Doors["HTTP"]+"/v1/streams/sales", `{"subjects":["sales.>"]}`)
			put(t, g.Doors["HTTP"]+"/v1/kv/settings", `{}`)
			for _, file := range files {
				if file == where {
					continue
				}
				t.Run(path.Base(file), func(t *testing.T) {
					var got []string
					run(t, file, socket(t, g, "/ws"), func(line string) { got = append(got, line) })
					same(t, file, got)
				})
			}
		})
	}
}

// TestLibraryThroughRestart: the library does all it can through a gateway that is killed, or ended, and started again on the same port and folder.
func TestLibraryThroughRestart(t *testing.T) {
	throughRestart(t, "testdata/trip.mjs", map[string]syscall.Signal{"/ws": syscall.SIGKILL, "/ws?cbor=1": syscall.SIGTERM})
}

// TestClientsOfOthers: unmodified nats.js, @stomp/stompjs and mqtt.js do the same in a browser, where their homes are, as the tests of STOMP have them do in Node.js.
func TestClientsOfOthers(t *testing.T) {
	throughRestart(t, "../stomp/testdata/clients.mjs", map[string]syscall.Signal{"/": syscall.SIGKILL})
}

// TestWorkOfOthers: what nats.js and mqtt.js have in place of queues survives the gateway too: JetStream's acknowledgements, and sessions of MQTT.
func TestWorkOfOthers(t *testing.T) {
	throughRestart(t, "testdata/work.mjs", map[string]syscall.Signal{"/": syscall.SIGKILL})
}

// throughRestart runs a program at each address; the line "restart me" ends the gateway by the address's signal and starts it again.
func throughRestart(t *testing.T, file string, addresses map[string]syscall.Signal) {
	t.Helper()
	for place, run := range runners(t) {
		for address, end := range addresses {
			t.Run(place+address, func(t *testing.T) {
				g := gateway.Run(t, exec.Command(program(t)))
				put(t, g.Doors["HTTP"]+"/v1/streams/triplog", `{"subjects":["trip.log.>"]}`)
				put(t, g.Doors["HTTP"]+"/v1/kv/trip", `{}`)
				home := strings.TrimPrefix(g.Doors["HTTP"], "http://")
				var got []string
				run(t, file, socket(t, g, address), func(line string) {
					got = append(got, line)
					if line == "restart me" {
						g.Signal(t, end)
						g.Wait(t)
						g = gateway.RunIn(t, g.Dir, exec.Command(program(t), "--http-listen", home))
					}
				})
				same(t, file, got)
			})
		}
	}
}

// TestServedLibrary: a page of another origin imports the library from the gateway that it connects to.
func TestServedLibrary(t *testing.T) {
	g := start(t)
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<!doctype html><title>import</title><link rel="icon" href="data:,"><p></p><script type="module">
			import { connect } from %[1]s
			import { cbor } from %[2]s
			const portico = connect(%[3]s, { codec: cbor })
			const { live } = await portico.publish("a", "b")
			document.querySelector("p").textContent = portico.status + " " + live
		</script>`, quoted(g.Doors["HTTP"]+"/client/portico.js"), quoted(g.Doors["HTTP"]+"/client/cbor.js"), quoted(g.Doors["WebSocket"]))
	}))
	defer site.Close()
	ctx := visit(t, "http://127.0.0.1:", site.URL, func(any) {})
	do(t, ctx, shows("p", "open false"))
}

// TestPackage: the library is had by import and by require, under both of its names.
func TestPackage(t *testing.T) {
	node := gateway.Needs(t, "nodejs", "node")
	gateway.Needs(t, "npm", "npm")
	dir, err := packages()
	if err != nil {
		t.Fatal(err)
	}
	for name, script := range map[string]string{
		"require": `const { connect, PorticoError } = require("@portico/client"); const { cbor } = require("@portico/client/cbor"); console.log(typeof connect, typeof PorticoError, cbor.protocol)`,
		"import":  `const { connect, PorticoError } = await import("@portico/client"); const { cbor } = await import("@portico/client/cbor"); console.log(typeof connect, typeof PorticoError, cbor.protocol)`,
	} {
		t.Run(name, func(t *testing.T) {
			kind := map[string]string{"require": "commonjs", "import": "module"}[name]
			cmd := exec.CommandContext(t.Context(), node, "--input-type="+kind, "--eval", script)
			cmd.Dir = dir
			out, err := cmd.CombinedOutput()
			if err != nil || string(out) != "function function portico.v1.cbor\n" {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

// TestBinaryEncoding: the binary encoding by itself, with what no good gateway sends.
func TestBinaryEncoding(t *testing.T) {
	for place, run := range runners(t) {
		t.Run(place, func(t *testing.T) {
			var got []string
			run(t, "testdata/cbor.mjs", &url.URL{Scheme: "ws", Host: "127.0.0.1:1"}, func(line string) { got = append(got, line) })
			same(t, "testdata/cbor.mjs", got)
		})
	}
}
