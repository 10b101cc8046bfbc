// Carries out steps on a channel in whatever mode they bring it to.
package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"
)

// stepping is a channel; another one counts.
type stepping struct {
	queue      string
	connection *amqp.Connection
	counting   *amqp.Channel
	channel    *amqp.Channel
	last       amqp.Delivery
}

func (d *driver) transact(c *command) (any, error) {
	opened, err := amqp.Dial(url(d.address))
	if err != nil {
		return nil, err
	}
	defer opened.Close()
	s := &stepping{queue: c.Topic, connection: opened}
	if s.counting, err = opened.Channel(); err != nil {
		return nil, err
	}
	if s.channel, err = opened.Channel(); err != nil {
		return nil, err
	}
	seen := []string{}
	for _, step := range c.Steps {
		text, err := s.step(step)
		var closed *amqp.Error
		if errors.As(err, &closed) {
			text = strconv.Itoa(closed.Code)
			s.channel, err = opened.Channel()
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", step, err)
		}
		seen = append(seen, text)
	}
	return object{"seen": seen}, nil
}

func (s *stepping) step(step string) (string, error) {
	word, text, _ := strings.Cut(step, " ")
	switch word {
	case "select":
		return "", s.channel.Tx()
	case "confirm":
		return "", s.channel.Confirm(false)
	case "commit":
		return "", s.channel.TxCommit()
	case "rollback":
		return "", s.channel.TxRollback()
	case "publish":
		message := amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte(text)}
		return "", s.channel.PublishWithContext(context.Background(), "", s.queue, false, false, message)
	case "get":
		delivery, found, err := s.channel.Get(s.queue, false)
		if err != nil || !found {
			return "none", err
		}
		s.last = delivery
		return string(delivery.Body), nil
	case "ack":
		return "", s.last.Ack(false)
	case "requeue":
		return "", s.last.Nack(false, true)
	case "depth":
		queue, err := s.counting.QueueDeclarePassive(s.queue, true, false, false, false, nil)
		return strconv.Itoa(queue.Messages), err
	case "reopen":
		if err := s.channel.Close(); err != nil {
			return "", err
		}
		opened, err := s.connection.Channel()
		s.channel = opened
		return "", err
	default:
		return "", fmt.Errorf("no step %s", word)
	}
}
