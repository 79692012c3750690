package browser

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"
)

// folder is where everything is that all tests share. TestMain makes it.
var folder string

// build builds the gateway once for all tests.
var build = sync.OnceValues(func() (file string, err error) {
	file = filepath.Join(folder, "gateway")
	out, err := exec.Command("go", "build", "-o", file, "portico/cmd/gateway").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build the gateway: %w\n%s", err, out)
	}
	return file, nil
})

// program is the gateway's path. GATEWAY names another one than that of this tree.
func program(t *testing.T) string {
	t.Helper()
	if other := os.Getenv("GATEWAY"); other != "" {
		return other
	}
	file, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// packages makes a folder of packages as a project has it: the library, packed and installed as npm does it, and the clients of others.
var packages = sync.OnceValues(func() (dir string, err error) {
	packed, err := filepath.Abs(library)
	if err != nil {
		return "", err
	}
	dir = filepath.Join(folder, "project")
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	args := append([]string{"install", "--no-save", "--no-audit", "--no-fund", "--loglevel=error", "--install-links", "--prefix", dir, packed}, npmClients[:]...)
	if out, err := exec.CommandContext(ctx, "npm", args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm: %w\n%s", err, out)
	}
	return dir, nil
})

// launched is the browser of all tests, if one has needed it. Each test has a profile of its own in it.
var launched context.Context

// launch starts the browser, once.
func launch(t *testing.T) context.Context {
	t.Helper()
	path := browser(t)
	if launched == nil {
		options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.UserDataDir(filepath.Join(folder, "profile")))
		ctx, _ := chromedp.NewExecAllocator(context.Background(), options...)
		launched, _ = chromedp.NewContext(ctx)
		do(t, launched)
	}
	return launched
}

func TestMain(m *testing.M) {
	var err error
	if folder, err = os.MkdirTemp("", "portico-browser-"); err != nil {
		panic(err)
	}
	code := m.Run()
	if launched != nil {
		_ = chromedp.Cancel(launched) // waits until the browser is gone
	}
	_ = os.RemoveAll(folder)
	os.Exit(code)
}
