package hostile

import (
	"bufio"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

// Opcodes [RFC 6455 5.2], with the FIN bit.
const (
	opMore   = 0x80
	opText   = 0x81
	opBinary = 0x82
	opClose  = 0x88
	opPing   = 0x89
	opPong   = 0x8a
)

// webSocket is a WebSocket of which every octet is ours.
type webSocket struct {
	net.Conn
	in *bufio.Reader
}

func dialWeb(address string) (*webSocket, error) { return dialWebAs(address, "") }

// dialWebAs logs in as "user:password"; "" shows nothing.
func dialWebAs(address, login string) (*webSocket, error) {
	authorization := ""
	if login != "" {
		authorization = "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(login)) + "\r\n"
	}
	conn, err := dial(address)
	if err != nil {
		return nil, err
	}
	w := &webSocket{conn, bufio.NewReader(conn)}
	_, err = fmt.Fprintf(conn, "GET /ws HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: portico.v1.json\r\n%s\r\n", address, authorization)
	if err == nil {
		err = w.upgraded()
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return w, nil
}

func (w *webSocket) upgraded() error {
	resp, err := http.ReadResponse(w.in, nil)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return fmt.Errorf("upgrade answered %s", resp.Status)
	}
	op, text, err := w.read()
	if err == nil && (op != opText || !strings.Contains(text, `"op":"welcome"`)) {
		err = fmt.Errorf("welcomed with %x %s", op, text)
	}
	return err
}

// frame is a masked frame; the mask is zero, so that the payload stays readable.
func frame(op byte, payload string) []byte {
	return append(append(frameStart(op, uint64(len(payload))), 0, 0, 0, 0), payload...)
}

// frameStart is what comes before the mask of a frame that says it is masked and so long.
func frameStart(op byte, length uint64) []byte {
	switch {
	case length < 126:
		return []byte{op, 0x80 | byte(length)}
	case length < 1<<16:
		return binary.BigEndian.AppendUint16([]byte{op, 0x80 | 126}, uint16(length))
	}
	return binary.BigEndian.AppendUint64([]byte{op, 0x80 | 127}, length)
}

func (w *webSocket) send(op byte, payload string) { _, _ = w.Write(frame(op, payload)) } // who reads notices

// read returns the next frame.
func (w *webSocket) read() (op byte, payload string, err error) {
	var head [2]byte
	if _, err := io.ReadFull(w.in, head[:]); err != nil {
		return 0, "", err
	}
	length := uint64(head[1] & 0x7f)
	switch length {
	case 126:
		var b [2]byte
		_, err = io.ReadFull(w.in, b[:])
		length = uint64(binary.BigEndian.Uint16(b[:]))
	case 127:
		var b [8]byte
		_, err = io.ReadFull(w.in, b[:])
		length = binary.BigEndian.Uint64(b[:])
	}
	if err != nil {
		return 0, "", err
	}
	body := make([]byte, length)
	_, err = io.ReadFull(w.in, body)
	return head[0], string(body), err
}

// closeCode reads to the close frame and returns its code and reason.
func (w *webSocket) closeCode() (code int, reason string, err error) {
	for {
		op, payload, err := w.read()
		if err != nil {
			return 0, "", err
		}
		if op == opClose && len(payload) >= 2 {
			return int(binary.BigEndian.Uint16([]byte(payload))), payload[2:], nil
		}
	}
}
