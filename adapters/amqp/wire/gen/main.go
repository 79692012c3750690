// Gen writes the methods and reply codes of package wire from the AMQP 0-9-1
// specification that the RabbitMQ Go client carries in its module, with
// RabbitMQ's extensions in it. It runs in the folder of package wire:
//
//	go generate ./adapters/amqp/wire
package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// specModule is the module whose spec folder holds the XML.
const specModule = "github.com/rabbitmq/amqp091-go"

func main() {
	if err := run("."); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

// run writes the generated files into dir.
func run(dir string) error {
	xml, err := readSpec()
	if err != nil {
		return err
	}
	files, err := generate(xml)
	if err != nil {
		return err
	}
	for name, src := range files {
		if err := os.WriteFile(filepath.Join(dir, name), src, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// readSpec reads the XML from the module cache.
func readSpec() ([]byte, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", specModule).Output()
	if err != nil {
		return nil, fmt.Errorf("find module %s: %w", specModule, err)
	}
	dir := strings.TrimSpace(string(out))
	return os.ReadFile(filepath.Join(dir, "spec", "amqp0-9-1.stripped.extended.xml"))
}

// generate turns the specification into the Go files of package wire, by name.
func generate(xml []byte) (map[string][]byte, error) {
	s, err := parse(xml)
	if err != nil {
		return nil, err
	}
	methods, err := methodsFile(s)
	if err != nil {
		return nil, fmt.Errorf("methods: %w", err)
	}
	codes, err := codesFile(s)
	if err != nil {
		return nil, fmt.Errorf("reply codes: %w", err)
	}
	return map[string][]byte{"methods_gen.go": methods, "codes_gen.go": codes}, nil
}
