<?php
// Posts one event with PHP's own streams (PHP 8). RELAY_URL and RELAY_WRITE_KEY say where and as whom;
// the argument is the event's own id. Sending it again with the same id does no harm.

declare(strict_types=1);

$url = (getenv('RELAY_URL') ?: 'http://127.0.0.1:8080') . '/v1/events';
$key = getenv('RELAY_WRITE_KEY') ?: 'dev-key';

/** The relay's answer; waits where it asks for that. */
function send(string $url, string $key, array $event, int $tries = 5): array
{
    $context = stream_context_create(['http' => [
        'method' => 'POST',
        'header' => ["Authorization: Bearer $key", 'Content-Type: application/json'],
        'content' => json_encode($event, JSON_THROW_ON_ERROR),
        'timeout' => 30,
        'ignore_errors' => true,
    ]]);
    for ($attempt = 1; ; $attempt++) {
        $http_response_header = [];
        $body = @file_get_contents($url, false, $context);
        preg_match('{^HTTP/\S+ (\d+)}', $http_response_header[0] ?? '', $status);
        $status = (int) ($status[1] ?? 0);
        if ($status === 202) {
            return json_decode($body, true, 32, JSON_THROW_ON_ERROR);
        }
        if (!in_array($status, [0, 429, 503], true) || $attempt === $tries) {
            fwrite(STDERR, $status ? "$status: $body\n" : "no answer\n");
            exit(1);
        }
        $wait = 2 ** $attempt;
        foreach ($http_response_header as $line) {
            if (preg_match('/^retry-after:\s*(\d+)/i', $line, $found)) {
                $wait = (int) $found[1];
            }
        }
        sleep($wait);
    }
}

$order = $argv[1] ?? 'order-1001';
echo json_encode(send($url, $key, [
    'event' => 'purchase',
    'event_id' => $order,
    'timestamp' => gmdate('Y-m-d\TH:i:s\Z'),
    'site' => 'shop_us',
    'user' => ['external_id' => 'u-1029', 'email' => 'jane.doe@example.com'],
    'click_ids' => ['gclid' => 'EAIaIQ-example'],
    'consent' => [
        'ad_storage' => 'granted',
        'ad_user_data' => 'granted',
        'ad_personalization' => 'denied',
        'analytics_storage' => 'granted',
        'region' => 'US-NY',
    ],
    'properties' => [
        'order_id' => $order,
        // Money as text, so that no float rounds it.
        'value' => '129.90',
        'currency' => 'USD',
        'items' => [['id' => 'SKU-1', 'name' => 'Shoe', 'quantity' => 1, 'price' => '129.90']],
    ],
])), "\n";
