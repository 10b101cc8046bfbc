import org.apache.rocketmq.acl.common.AclClientRPCHook;
import org.apache.rocketmq.acl.common.SessionCredentials;
import org.apache.rocketmq.client.ClientConfig;
import org.apache.rocketmq.client.exception.OffsetNotFoundException;
import org.apache.rocketmq.client.impl.MQClientAPIImpl;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.RPCHook;
import org.apache.rocketmq.remoting.protocol.header.QueryConsumerOffsetRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.UpdateConsumerOffsetRequestHeader;

/** What the SDK's version 5.5.0 calls otherwise than the other that shares the driver's sources. */
final class Version {
    private static final int TIMEOUT_MS = 10_000;

    private Version() { }

    static void apply(ClientConfig client) {
        client.setDetectTimeout(TIMEOUT_MS);
    }

    /** What signs every request. */
    static RPCHook signing(String user, String secret) {
        return new AclClientRPCHook(new SessionCredentials(user, secret));
    }

    static void delay(Message message, long delayMs) {
        message.setDelayTimeMs(delayMs);
    }

    /** Null where the message does not wait. */
    static String recallHandle(SendResult result) {
        return result.getRecallHandle();
    }

    static String recall(DefaultMQProducer producer, String topic, String handle) throws Exception {
        return producer.recallMessage(topic, handle);
    }

    /** -1 where the group has committed nothing. */
    static long committed(MQClientAPIImpl sdk, String broker, String group, MessageQueue queue) throws Exception {
        QueryConsumerOffsetRequestHeader header = new QueryConsumerOffsetRequestHeader();
        header.setConsumerGroup(group);
        header.setTopic(queue.getTopic());
        header.setQueueId(queue.getQueueId());
        header.setSetZeroIfNotFound(false);
        try {
            return sdk.queryConsumerOffset(broker, header, TIMEOUT_MS);
        } catch (OffsetNotFoundException e) {
            return -1;
        }
    }

    static void commit(MQClientAPIImpl sdk, String broker, String group, MessageQueue queue, long offset) throws Exception {
        UpdateConsumerOffsetRequestHeader header = new UpdateConsumerOffsetRequestHeader();
        header.setConsumerGroup(group);
        header.setTopic(queue.getTopic());
        header.setQueueId(queue.getQueueId());
        header.setCommitOffset(offset);
        sdk.updateConsumerOffset(broker, header, TIMEOUT_MS);
    }
}
