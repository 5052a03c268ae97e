import java.util.ArrayList;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/** Works in bursts on a pool with a thread for each processor of the JVM, and rests between them. */
class Pool {
    public static void main(String[] arguments) throws Exception {
        var pool = Executors.newFixedThreadPool(Runtime.getRuntime().availableProcessors());
        while (true) {
            var tasks = new ArrayList<Future<?>>();
            for (int i = 0; i < 16; i++) tasks.add(pool.submit(() -> spin(5_000_000)));
            for (var task : tasks) task.get();
            Thread.sleep(200);
        }
    }

    static void spin(int turns) {
        double x = 1;
        for (int i = 0; i < turns; i++) x = x * 1.0000001 + 1e-9;
        if (x < 0) System.out.println(x);
    }
}
