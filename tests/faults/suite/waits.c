/* libfaketime turns the deadline of pthread_cond_timedwait into the host's time, and does not know the same call of C11,
   which librdkafka uses: its waits would end at once, or hours late, which no clock that really jumped would do. */
#include <errno.h>
#include <pthread.h>
#include <threads.h>

int cnd_timedwait(cnd_t *condition, mtx_t *mutex, const struct timespec *deadline) {
    int result = pthread_cond_timedwait((pthread_cond_t *)condition, (pthread_mutex_t *)mutex, deadline);
    return result == 0 ? thrd_success : result == ETIMEDOUT ? thrd_timedout : thrd_error;
}
