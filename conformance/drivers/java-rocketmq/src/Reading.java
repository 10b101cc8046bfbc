import com.google.gson.JsonObject;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** Reads queues by offset, and looks up and moves the offsets of groups. */
@SuppressWarnings("deprecation") // DefaultMQPullConsumer is the one object of the SDK that does all of this without being a member.
final class Reading {
    private static final int PULL_MESSAGES_MAX = 32;
    private static final int PULL_EMPTY_MAX = 50;

    Object offsets(JsonObject command) throws Exception {
        try (Puller puller = new Puller(command.get("group").getAsString())) {
            List<Object> queues = new ArrayList<>();
            for (MessageQueue queue : puller.queues(command.get("topic").getAsString())) {
                queues.add(Map.of("queue", queue.getQueueId(), "min", puller.sdk.minOffset(queue), "max", puller.sdk.maxOffset(queue),
                    "committed", puller.sdk.fetchConsumeOffset(queue, true)));
            }
            return Map.of("queues", queues);
        }
    }

    Object seekTime(JsonObject command) throws Exception {
        try (Puller puller = new Puller(command.get("group").getAsString())) {
            for (MessageQueue queue : puller.queues(command.get("topic").getAsString())) {
                long offset = puller.sdk.searchOffset(queue, command.get("time_ms").getAsLong());
                puller.sdk.getDefaultMQPullConsumerImpl().getOffsetStore().updateConsumeOffsetToBroker(queue, offset, false);
            }
            return Map.of();
        }
    }

    Object drain(JsonObject command) throws Exception {
        long count = 0;
        try (Puller puller = new Puller(command.get("group").getAsString()); Journal journal = new Journal(command.get("journal").getAsString())) {
            for (MessageQueue queue : puller.queues(command.get("topic").getAsString())) {
                count += drain(puller.sdk, queue, journal);
            }
        }
        return Map.of("count", count);
    }

    void close() {
        // Every command closes its own puller.
    }

    private static long drain(DefaultMQPullConsumer sdk, MessageQueue queue, Journal journal) throws Exception {
        long next = sdk.minOffset(queue);
        long end = sdk.maxOffset(queue);
        long count = 0;
        int empty = 0;
        while (next < end) {
            PullResult result = sdk.pull(queue, "*", next, PULL_MESSAGES_MAX);
            if (result.getPullStatus() != PullStatus.FOUND) {
                if (++empty > PULL_EMPTY_MAX) {
                    throw new IllegalStateException("queue " + queue.getQueueId() + " ends at " + end + " but a pull from " + next + " says " + result.getPullStatus());
                }
                next = Math.max(next, result.getNextBeginOffset());
                continue;
            }
            empty = 0;
            for (MessageExt message : result.getMsgFoundList()) {
                journal.line("R " + queue.getQueueId() + " " + message.getQueueOffset() + " " + Journal.id(message.getBody()) + " "
                    + Journal.crc(message.getBody()) + " " + (message.getReconsumeTimes() + 1) + " " + System.currentTimeMillis());
                count++;
            }
            next = result.getNextBeginOffset();
        }
        return count;
    }

    /** A pull consumer that goes with its command. */
    private static final class Puller implements AutoCloseable {
        final DefaultMQPullConsumer sdk;

        Puller(String group) throws Exception {
            sdk = new DefaultMQPullConsumer(group);
            Endpoint.apply(sdk);
            sdk.start();
        }

        List<MessageQueue> queues(String topic) throws Exception {
            List<MessageQueue> queues = new ArrayList<>(sdk.fetchSubscribeMessageQueues(topic));
            queues.sort(null);
            return queues;
        }

        @Override
        public void close() {
            sdk.shutdown();
        }
    }
}
