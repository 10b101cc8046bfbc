// The lines that the offline checker reads, and the bodies that they are about.

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"hash/crc32"
	"os"
	"sync"
	"time"
)

// journal writes the lines that the offline checker reads. Lines are whole even when several goroutines write.
type journal struct {
	lock sync.Mutex
	file *os.File
	out  *bufio.Writer
}

func newJournal(path string) (*journal, error) {
	file, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	return &journal{file: file, out: bufio.NewWriterSize(file, 1<<16)}, nil
}

func (j *journal) line(format string, values ...any) {
	j.lock.Lock()
	defer j.lock.Unlock()
	fmt.Fprintf(j.out, format+"\n", values...)
}

func (j *journal) close() error {
	j.lock.Lock()
	defer j.lock.Unlock()
	if err := j.out.Flush(); err != nil {
		return err
	}
	return j.file.Close()
}

func nowMs() int64 { return time.Now().UnixMilli() }

func crcOf(body []byte) string { return fmt.Sprintf("%08x", crc32.ChecksumIEEE(body)) }

func loadBody(id string, size int) []byte {
	body := append([]byte(id), ' ')
	for len(body) < size {
		body = append(body, '.')
	}
	return body
}

func idOf(body []byte) string {
	if blank := bytes.IndexByte(body, ' '); blank > 0 {
		return string(body[:blank])
	}
	return "?"
}
