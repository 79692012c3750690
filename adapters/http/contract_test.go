package httpapi_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(underContract{m}) }

// underContract runs the tests and then compares what the package's clients saw with the OpenAPI document.
type underContract struct{ m *testing.M }

// Run implements goleak.TestingM.
func (u underContract) Run() int {
	code := u.m.Run()
	broken := seen.broken()
	if whole := flag.Lookup("test.run").Value.String() == "" && flag.Lookup("test.skip").Value.String() == ""; whole && !testing.Short() && code == 0 {
		broken = append(broken, seen.missing()...)
	}
	for _, what := range broken {
		fmt.Fprintln(os.Stderr, "contract:", what)
		code = 1
	}
	return code
}

// contract is what the document says, and what was seen of it.
type contract struct {
	mu         sync.Mutex // guards the rest
	operations map[string]*promise
	compiler   *jsonschema.Compiler
	compiled   map[string]*jsonschema.Schema
	wrong      map[string]bool
}

// promise is an operation of the document.
type promise struct {
	id, method string
	path       []string
	statuses   map[string]map[string]string // by status: JSON pointers of schemas by media type
	succeeded  bool
}

// seen is what all clients of the package's tests saw.
var seen contract

const resource = "mem:///openapi.json"

// learn reads the document.
func (c *contract) learn(text []byte) error {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	closed(doc.(object))
	c.compiler = jsonschema.NewCompiler()
	c.operations, c.compiled, c.wrong = map[string]*promise{}, map[string]*jsonschema.Schema{}, map[string]bool{}
	if err := c.compiler.AddResource(resource, doc); err != nil {
		return err
	}
	for path, item := range doc.(object)["paths"].(object) {
		for method, op := range item.(object) {
			p := &promise{id: op.(object)["operationId"].(string), method: strings.ToUpper(method), path: strings.Split(path, "/"), statuses: map[string]map[string]string{}}
			for status, answer := range op.(object)["responses"].(object) {
				p.statuses[status] = map[string]string{}
				at := []string{"#/paths", escaped(path), method, "responses", status}
				if ref, ok := answer.(object)["$ref"].(string); ok {
					name := strings.TrimPrefix(ref, "#/components/responses/")
					answer, at = doc.(object)["components"].(object)["responses"].(object)[name], []string{"#/components/responses", name}
				}
				content, _ := answer.(object)["content"].(object)
				for mediaType, media := range content {
					pointer := ""
					if media.(object)["schema"] != nil {
						pointer = strings.Join(append(at, "content", escaped(mediaType), "schema"), "/")
					}
					p.statuses[status][mediaType] = pointer
				}
			}
			c.operations[p.id] = p
		}
	}
	return nil
}

// closed makes every answer's schema refuse fields that it does not list: a client has to expect more, this test does not.
func closed(doc object) {
	for name, s := range doc["components"].(object)["schemas"].(object) {
		if schema := s.(object); schema["properties"] != nil && !strings.HasSuffix(name, "Input") {
			schema["additionalProperties"] = false
		}
	}
}

func escaped(s string) string {
	s = strings.NewReplacer("~", "~0", "/", "~1").Replace(s)
	return strings.NewReplacer("%", "%25", "{", "%7B", "}", "%7D", "*", "%2A").Replace(s)
}

// find returns the operation of a request, nil if it is of none.
func (c *contract) find(method, escapedPath string) (best *promise) {
	parts, most := strings.Split(escapedPath, "/"), -1
	for _, p := range c.operations {
		if p.method != method || len(parts) < len(p.path) {
			continue
		}
		literal, ok := 0, true
		for i, word := range p.path {
			switch {
			case strings.HasPrefix(word, "{"):
				ok = ok && parts[i] != ""
			case word == parts[i]:
				literal++
			default:
				ok = false
			}
		}
		rest := len(parts) > len(p.path)
		if ok = ok && (!rest || strings.HasPrefix(p.path[len(p.path)-1], "{")); ok && !rest {
			literal += 100 // what takes the rest of a path comes last
		}
		if ok && literal > most {
			best, most = p, literal
		}
	}
	return best
}

// note records an answer; body is nil if it was not read to its end.
func (c *contract) note(r *http.Request, res *http.Response, body []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.find(r.Method, r.URL.EscapedPath())
	if p == nil {
		return
	}
	forms, ok := p.statuses[strconv.Itoa(res.StatusCode)]
	if !ok {
		c.wrong[fmt.Sprintf("%s answers %d, which the document does not list (%s %s: %.200s)", p.id, res.StatusCode, r.Method, r.URL, body)] = true
		return
	}
	if res.StatusCode < 300 {
		p.succeeded = true
	}
	mediaType, _, err := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if err != nil || len(body) == 0 {
		return
	}
	pointer, ok := forms[mediaType]
	if _, any := forms["*/*"]; !ok && !any {
		c.wrong[fmt.Sprintf("%s answers %d with %s, which the document does not list", p.id, res.StatusCode, mediaType)] = true
	}
	if pointer == "" || !strings.HasSuffix(mediaType, "json") {
		return
	}
	if err := c.validate(pointer, body); err != nil {
		c.wrong[fmt.Sprintf("%s answers %d with what its schema has not: %v\n%.300s", p.id, res.StatusCode, err, body)] = true
	}
}

func (c *contract) validate(pointer string, body []byte) error {
	s := c.compiled[pointer]
	if s == nil {
		var err error
		if s, err = c.compiler.Compile(resource + pointer); err != nil {
			return err
		}
		c.compiled[pointer] = s
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return err
	}
	return s.Validate(v)
}

func (c *contract) broken() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(c.wrong))
}

// missing lists the operations that no test has called with success.
func (c *contract) missing() (out []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(c.operations)) {
		if !c.operations[id].succeeded {
			out = append(out, id+" is in the document, and no test calls it with success")
		}
	}
	return out
}

// watched is a transport whose answers are compared with the document.
type watched struct {
	http.RoundTripper
	url string // of the gateway
}

// RoundTrip implements http.RoundTripper.
func (w watched) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := w.learn(r); err != nil {
		return nil, err
	}
	res, err := w.RoundTripper.RoundTrip(r)
	if err != nil || res.StatusCode == http.StatusSwitchingProtocols {
		return res, err
	}
	if res.Header.Get("Content-Type") == "text/event-stream" || res.Header.Get("Content-Type") == "application/x-ndjson" {
		seen.note(r, res, nil)
		return res, nil
	}
	res.Body = &witness{ReadCloser: res.Body, request: r, answer: res}
	return res, nil
}

// CloseIdleConnections does what http.Client expects of a transport.
func (w watched) CloseIdleConnections() {
	if t, ok := w.RoundTripper.(*http.Transport); ok {
		t.CloseIdleConnections()
	}
}

// learn reads the document from the first gateway that is there.
func (w watched) learn(r *http.Request) error {
	seen.mu.Lock()
	defer seen.mu.Unlock()
	if seen.operations != nil {
		return nil
	}
	get, err := http.NewRequestWithContext(r.Context(), http.MethodGet, w.url+"/v1/openapi.json", http.NoBody)
	if err != nil {
		return err
	}
	res, err := w.RoundTripper.RoundTrip(get)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil {
		err = seen.learn(text)
	}
	return err
}

// witness keeps the beginning of a body, and tells the contract of the whole.
type witness struct {
	io.ReadCloser
	request *http.Request
	answer  *http.Response
	text    []byte
	told    bool
}

const mostWitnessed = 4 << 20 // bytes; larger bodies are not compared

// Read implements io.Reader.
func (w *witness) Read(b []byte) (int, error) {
	n, err := w.ReadCloser.Read(b)
	if len(w.text) <= mostWitnessed {
		w.text = append(w.text, b[:n]...)
	}
	if err == io.EOF && !w.told {
		w.told = true
		body := w.text
		if len(body) > mostWitnessed || w.answer.Header.Get("Content-Encoding") != "" {
			body = nil
		}
		seen.note(w.request, w.answer, body)
	}
	return n, err
}

func TestDocumentIsWhole(t *testing.T) {
	d := openPlain(t)
	a := d.do("GET", "/v1/openapi.json", "")
	doc := want[struct {
		OpenAPI string
		Paths   map[string]map[string]struct {
			OperationID, Summary string
			Tags                 []string
			Responses            map[string]json.RawMessage
			Parameters           []struct{ Name, In, Description string }
		}
	}](t, a, 200)
	if doc.OpenAPI != "3.1.0" || a.header.Get("Content-Type") != "application/json" || len(doc.Paths) < 15 {
		t.Errorf("OpenAPI %q with %d paths as %q", doc.OpenAPI, len(doc.Paths), a.header.Get("Content-Type"))
	}
	for path, item := range doc.Paths {
		for method, op := range item {
			if op.OperationID == "" || op.Summary == "" || len(op.Tags) == 0 || len(op.Responses) < 2 {
				t.Errorf("%s %s: %q, %q, tags %v, %d answers", method, path, op.OperationID, op.Summary, op.Tags, len(op.Responses))
			}
			named := map[string]bool{}
			for _, p := range op.Parameters {
				if named[p.In+p.Name] || p.Description == "" {
					t.Errorf("%s: parameter %s of the %s is there twice or not described", op.OperationID, p.Name, p.In)
				}
				named[p.In+p.Name] = true
				if p.In == "path" && !strings.Contains(path, "{"+p.Name+"}") {
					t.Errorf("%s: %s is no part of %s", op.OperationID, p.Name, path)
				}
			}
			if strings.Count(path, "{") != len(slices.DeleteFunc(slices.Clone(op.Parameters), func(p struct{ Name, In, Description string }) bool { return p.In != "path" })) {
				t.Errorf("%s: not every name in %s is a parameter", op.OperationID, path)
			}
		}
	}
	if y := d.do("GET", "/v1/openapi.yaml", ""); y.status != 200 || !bytes.Contains(y.body, []byte("openapi: 3.1.0")) {
		t.Errorf("YAML: %d %.100s", y.status, y.body)
	}
}

func TestDiscovery(t *testing.T) {
	d := openPlain(t)
	got := want[struct {
		Name, OpenAPI, Reference string
		Versions                 []string
		Ports                    map[string]int
		Limits                   map[string]int64
	}](t, d.do("GET", "/.well-known/portico", ""), 200)
	if got.Name != "portico" || got.OpenAPI != "/v1/openapi.json" || !slices.Equal(got.Versions, []string{"v1"}) || got.Limits["max_message"] == 0 {
		t.Errorf("%+v", got)
	}
	if !strings.HasSuffix(d.url, ":"+strconv.Itoa(got.Ports["http"])) || got.Ports["amqp"] != 1 {
		t.Errorf("ports %v of %s", got.Ports, d.url)
	}
}
