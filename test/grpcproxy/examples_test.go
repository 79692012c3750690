package grpcproxy

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	examples = "../../docs/examples/grpc"
	protos   = "../../proto"
)

// cached is a path in the folder where install.sh puts what other languages need. Without it the test is skipped, but never with CI=true.
func cached(t *testing.T, elements ...string) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(append([]string{cache, "portico"}, elements...)...)
	if _, err := os.Stat(path); err != nil {
		const how = "run test/grpcproxy/install.sh, which fetches it"
		if os.Getenv("CI") == "true" {
			t.Fatalf("%v: %s", err, how)
		}
		t.Skipf("%v: %s", err, how)
	}
	return path
}

// example is the command of one language's example.
func example(t *testing.T, language string) (name string, args, environ []string) {
	t.Helper()
	switch language {
	case "go":
		program := filepath.Join(t.TempDir(), "example")
		if out, err := exec.Command("go", "build", "-o", program, "portico/docs/examples/grpc/go").CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return program, nil, nil
	case "python":
		python, stubs := cached(t, "grpcio-1.85.1", "bin", "python"), t.TempDir()
		generate := exec.Command(python, "-m", "grpc_tools.protoc", "-I"+protos, "--python_out="+stubs, "--grpc_python_out="+stubs, "portico/v1/portico.proto")
		if out, err := generate.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return python, []string{examples + "/python/example.py"}, []string{"PYTHONPATH=" + stubs, "PYTHONDONTWRITEBYTECODE=1"}
	}
	return node(t), []string{examples + "/node/example.js"}, []string{"NODE_PATH=" + cached(t, "grpc-node", "node_modules")}
}

func node(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("node")
	switch {
	case err == nil:
	case os.Getenv("CI") == "true":
		t.Fatal(err)
	default:
		t.Skip(err)
	}
	return path
}

// output runs a program to its end and returns what it said.
func output(t *testing.T, environ []string, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), environ...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

// TestExamples: each does the same and says so.
func TestExamples(t *testing.T) {
	g := portico(t)
	for _, language := range []string{"go", "python", "node"} {
		t.Run(language, func(t *testing.T) {
			name, args, environ := example(t, language)
			want := strings.ReplaceAll("published, somebody listens: true\nreceived hello on LANGUAGE.greetings.you\nanswered abab\ndone one\ndone two\ndone three\n", "LANGUAGE", language)
			if got := output(t, environ, name, append(args, g.Doors["gRPC"])...); got != want {
				t.Errorf("it said\n%s\nwant\n%s", got, want)
			}
		})
	}
}
