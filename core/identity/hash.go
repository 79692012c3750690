package identity

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

// The names that RabbitMQ has for its ways to hash a password, as its exported definitions carry them.
const (
	RabbitSHA256 = "rabbit_password_hashing_sha256"
	RabbitSHA512 = "rabbit_password_hashing_sha512"
)

// hash is a kept password.
type hash interface {
	verify(password string) bool // in a time that does not depend on how much of it is right
	slow() bool                  // made to cost time or memory
}

// Bounds of what a kept hash may demand of who verifies it. They are checked when a user is configured, not when somebody logs in.
const (
	maxBcryptCost   = 15        // some seconds
	maxArgonMemory  = 256 << 10 // KiB
	maxArgonTime    = 16
	maxArgonThreads = 16
	maxHashText     = 512 // bytes
)

// What HashPassword makes.
const (
	argonMemory = 19 << 10 // KiB
	argonTime   = 2
	argonSalt   = 16
	argonKey    = 32
)

// HashPassword makes a hash to keep: argon2id in the PHC string format.
func HashPassword(password string) string {
	salt := make([]byte, argonSalt)
	_, _ = rand.Read(salt) // never fails
	h := argonHash{memory: argonMemory, time: argonTime, threads: 1, salt: salt}
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=1$%s$%s", argon2.Version, argonMemory, argonTime,
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(h.of(password, argonKey)))
}

// CheckHash tells what is wrong with a kept password: see User.PasswordHash for what it may be. algorithm is RabbitMQ's name of it, or "".
func CheckHash(text, algorithm string) error {
	_, err := parseHash(text, algorithm)
	return err
}

func parseHash(text, algorithm string) (hash, error) {
	rabbit := algorithm != ""
	switch {
	case len(text) > maxHashText:
		return nil, fmt.Errorf("a hash of at most %d bytes is expected", maxHashText)
	case !rabbit && strings.HasPrefix(text, "$argon2id$"):
		return parseArgon(text)
	case !rabbit && strings.HasPrefix(text, "$2"):
		return parseBcrypt(text)
	}
	return parseRabbit(text, algorithm)
}

type bcryptHash []byte

func parseBcrypt(text string) (hash, error) {
	cost, err := bcrypt.Cost([]byte(text))
	if err != nil {
		return nil, errors.New("it is no bcrypt hash")
	}
	if cost > maxBcryptCost {
		return nil, fmt.Errorf("bcrypt of cost %d: at most %d", cost, maxBcryptCost)
	}
	return bcryptHash(text), nil
}

func (h bcryptHash) verify(password string) bool {
	return bcrypt.CompareHashAndPassword(h, []byte(password)) == nil
}
func (h bcryptHash) slow() bool { return true }

type argonHash struct {
	memory, time uint32
	threads      uint8
	salt, key    []byte
}

// parseArgon reads $argon2id$v=19$m=19456,t=2,p=1$salt$key.
func parseArgon(text string) (hash, error) {
	parts := strings.Split(text, "$")
	if len(parts) != 6 {
		return nil, errors.New("argon2id: expected $argon2id$v=19$m=…,t=…,p=…$salt$hash")
	}
	var h argonHash
	var version int
	if n, err := fmt.Sscanf(parts[2], "v=%d", &version); n != 1 || err != nil || version != argon2.Version {
		return nil, fmt.Errorf("argon2id: version 19 is expected")
	}
	if n, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &h.memory, &h.time, &h.threads); n != 3 || err != nil {
		return nil, errors.New("argon2id: the parameters must be m=…,t=…,p=…")
	}
	if h.memory == 0 || h.memory > maxArgonMemory || h.time == 0 || h.time > maxArgonTime || h.threads == 0 || h.threads > maxArgonThreads {
		return nil, fmt.Errorf("argon2id: at most m=%d,t=%d,p=%d, each at least 1", maxArgonMemory, maxArgonTime, maxArgonThreads)
	}
	var err error
	if h.salt, err = base64.RawStdEncoding.DecodeString(parts[4]); err != nil || len(h.salt) < 8 || len(h.salt) > 64 {
		return nil, errors.New("argon2id: the salt must be 8 to 64 bytes in base64 without padding")
	}
	if h.key, err = base64.RawStdEncoding.DecodeString(parts[5]); err != nil || len(h.key) < 16 || len(h.key) > 64 {
		return nil, errors.New("argon2id: the hash must be 16 to 64 bytes in base64 without padding")
	}
	return &h, nil
}

func (h *argonHash) verify(password string) bool {
	return subtle.ConstantTimeCompare(h.of(password, len(h.key)), h.key) == 1
}

func (h *argonHash) of(password string, bytes int) []byte {
	return argon2.IDKey([]byte(password), h.salt, h.time, h.memory, h.threads, uint32(bytes))
}

func (h *argonHash) slow() bool { return true }

// rabbitSalt is how many bytes of salt RabbitMQ puts in front of the digest.
const rabbitSalt = 4

type rabbitHash struct {
	salt, digest []byte
	sum          func([]byte) []byte
}

// parseRabbit reads what RabbitMQ exports as password_hash. Its length says which of the two it is.
func parseRabbit(text, algorithm string) (hash, error) {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, errors.New("it is neither bcrypt ($2b$…) nor argon2id ($argon2id$…) nor RabbitMQ's (base64)")
	}
	var h rabbitHash
	found := ""
	switch len(raw) {
	case rabbitSalt + sha256.Size:
		found, h.sum = RabbitSHA256, func(b []byte) []byte { s := sha256.Sum256(b); return s[:] }
	case rabbitSalt + sha512.Size:
		found, h.sum = RabbitSHA512, func(b []byte) []byte { s := sha512.Sum512(b); return s[:] }
	}
	if found == "" || algorithm != "" && algorithm != found {
		return nil, fmt.Errorf("as RabbitMQ's hash it must be of %s or %s, and its length %d is not", RabbitSHA256, RabbitSHA512, len(raw))
	}
	h.salt, h.digest = raw[:rabbitSalt], raw[rabbitSalt:]
	return &h, nil
}

func (h *rabbitHash) verify(password string) bool {
	return subtle.ConstantTimeCompare(h.sum(append(h.salt[:rabbitSalt:rabbitSalt], password...)), h.digest) == 1
}

func (h *rabbitHash) slow() bool { return false }

// plainHash is a password that the configuration has as it is.
type plainHash [sha256.Size]byte

func (h plainHash) verify(password string) bool {
	shown := sha256.Sum256([]byte(password))
	return subtle.ConstantTimeCompare(shown[:], h[:]) == 1
}

func (h plainHash) slow() bool { return false }

// noHash is what those have who come in without a password.
type noHash struct{}

func (noHash) verify(string) bool { return false }
func (noHash) slow() bool         { return false }
