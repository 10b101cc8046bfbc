import org.apache.rocketmq.client.ClientConfig;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.impl.MQClientAPIImpl;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.common.protocol.ResponseCode;
import org.apache.rocketmq.common.protocol.header.QueryConsumerOffsetRequestHeader;
import org.apache.rocketmq.common.protocol.header.UpdateConsumerOffsetRequestHeader;
import org.apache.rocketmq.remoting.RPCHook;

/** What the SDK's version 4.9.8 calls otherwise than the other that shares the driver's sources. */
final class Version {
    private static final int TIMEOUT_MS = 10_000;

    private Version() { }

    static void apply(ClientConfig client) {
        // 4.9.8 does not look whether its servers can be reached, so there is no limit for that.
    }

    /** What signs every request. */
    static RPCHook signing(String user, String secret) {
        throw new Driver.Unsupported("version 4 signs with a library of its own, which the driver has not");
    }

    static void delay(Message message, long delayMs) {
        throw new Driver.Unsupported("version 4 has delay levels, and no time of its own for a message");
    }

    static String recallHandle(SendResult result) {
        return null;
    }

    static String recall(DefaultMQProducer producer, String topic, String handle) {
        throw new Driver.Unsupported("version 4 cannot recall a message");
    }

    /** -1 where the group has committed nothing and the queue has lost its first message; a broker answers 0 before that, and this version cannot ask otherwise. */
    static long committed(MQClientAPIImpl sdk, String broker, String group, MessageQueue queue) throws Exception {
        QueryConsumerOffsetRequestHeader header = new QueryConsumerOffsetRequestHeader();
        header.setConsumerGroup(group);
        header.setTopic(queue.getTopic());
        header.setQueueId(queue.getQueueId());
        try {
            return sdk.queryConsumerOffset(broker, header, TIMEOUT_MS);
        } catch (MQBrokerException e) {
            if (e.getResponseCode() == ResponseCode.QUERY_NOT_FOUND) {
                return -1;
            }
            throw e;
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
