package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What is committed is what the specification gives.
func TestGeneratedFilesAreCurrent(t *testing.T) {
	xml, err := readSpec()
	if err != nil {
		t.Fatal(err)
	}
	files, err := generate(xml)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join("..", name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not current: run go generate ./adapters/amqp/wire", name)
		}
	}
	if len(files) != 2 {
		t.Errorf("%d files generated, want 2", len(files))
	}
}

func TestRunWritesTheFiles(t *testing.T) {
	dir := t.TempDir()
	if err := run(dir); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"methods_gen.go", "codes_gen.go"} {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Contains(b, []byte("DO NOT EDIT")) {
			t.Errorf("%s: %d octets, %v", name, len(b), err)
		}
	}
	if err := run(filepath.Join(dir, "absent")); err == nil {
		t.Error("writing to a folder that is not there succeeds")
	}
}

func TestGenerateRefuses(t *testing.T) {
	tests := map[string]struct{ xml, text string }{
		"not XML":        {"<amqp", "parse specification"},
		"unknown domain": {`<amqp><class name="c" index="1"><method name="m" index="1"><field name="f" domain="d"/></method></class></amqp>`, `c.m: field f has unknown domain "d"`},
		"unknown type":   {`<amqp><class name="c" index="1"><method name="m" index="1"><field name="f" type="t"/></method></class></amqp>`, `unknown type "t"`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := generate([]byte(tt.xml)); err == nil || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("error %v, want %q in it", err, tt.text)
			}
		})
	}
}

// Nine adjacent bits take two octets.
func TestBitsAreSplitAfterEight(t *testing.T) {
	fields := make([]field, 9)
	for i := range fields {
		fields[i].Type = "bit"
	}
	var runs []int
	eachRun(append(fields, field{Type: "octet"}, field{Type: "bit"}),
		func(field) { runs = append(runs, 0) },
		func(bits []field) { runs = append(runs, len(bits)) })
	if want := []int{8, 1, 0, 1}; len(runs) != 4 || runs[0] != want[0] || runs[1] != want[1] || runs[2] != want[2] || runs[3] != want[3] {
		t.Errorf("runs %v, want %v", runs, want)
	}
}
