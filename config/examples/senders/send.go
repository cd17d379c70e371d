// Posts one event with Go's standard library: go run send.go [ID]. RELAY_URL and RELAY_WRITE_KEY say
// where and as whom; the argument is the event's own id. Sending it again with the same id does no harm.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"time"
)

type object = map[string]any

func setting(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

// send returns the relay's answer, and waits where it asks for that.
func send(event object) ([]byte, error) {
	const tries = 5
	url := setting("RELAY_URL", "http://127.0.0.1:8080") + "/v1/events"
	body, err := json.Marshal(event)
	if err != nil {
		return nil, err
	}
	client := http.Client{Timeout: 30 * time.Second}
	for attempt := 1; ; attempt++ {
		request, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		request.Header.Set("Authorization", "Bearer "+setting("RELAY_WRITE_KEY", "dev-key"))
		request.Header.Set("Content-Type", "application/json")
		wait := 1 << attempt
		answer, err := client.Do(request)
		if err == nil {
			text, broken := io.ReadAll(answer.Body)
			answer.Body.Close()
			if broken == nil && answer.StatusCode == http.StatusAccepted {
				return text, nil
			}
			err = fmt.Errorf("%s: %s", answer.Status, text)
			if answer.StatusCode != http.StatusTooManyRequests && answer.StatusCode != http.StatusServiceUnavailable {
				return nil, err
			}
			if seconds, none := strconv.Atoi(answer.Header.Get("Retry-After")); none == nil {
				wait = seconds
			}
		}
		if attempt == tries {
			return nil, err
		}
		time.Sleep(time.Duration(wait) * time.Second)
	}
}

func main() {
	order := "order-1001"
	if len(os.Args) > 1 {
		order = os.Args[1]
	}
	answer, err := send(object{
		"event":     "purchase",
		"event_id":  order,
		"timestamp": time.Now().UTC().Format(time.RFC3339),
		"site":      "shop_us",
		"user":      object{"external_id": "u-1029", "email": "jane.doe@example.com"},
		"click_ids": object{"gclid": "EAIaIQ-example"},
		"consent": object{
			"ad_storage": "granted", "ad_user_data": "granted", "ad_personalization": "denied",
			"analytics_storage": "granted", "region": "US-NY",
		},
		"properties": object{
			"order_id": order,
			// Money as text, so that no float rounds it.
			"value":    "129.90",
			"currency": "USD",
			"items":    []object{{"id": "SKU-1", "name": "Shoe", "quantity": 1, "price": "129.90"}},
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(answer))
}
