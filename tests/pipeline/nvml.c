/* As much of NVML as is asked, of one GPU that is not there. Built by tests. */
#include <stdio.h>

int nvmlInitWithFlags(unsigned flags) { (void)flags; return 0; }
int nvmlShutdown(void) { return 0; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 1; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned at, void **handle) {
    *handle = (void *)(unsigned long)(at + 1);
    return 0;
}
int nvmlDeviceGetName(void *handle, char *name, unsigned length) {
    (void)handle;
    snprintf(name, length, "NVIDIA L40S");
    return 0;
}
int nvmlDeviceGetMemoryInfo(void *handle, unsigned long long memory[3]) {
    (void)handle;
    memory[0] = 48000000000ULL;
    memory[1] = 47000000000ULL;
    memory[2] = 1000000000ULL;
    return 0;
}
int nvmlSystemGetDriverVersion(char *version, unsigned length) {
    snprintf(version, length, "550.54");
    return 0;
}
int nvmlSystemGetCudaDriverVersion_v2(int *version) { *version = 12040; return 0; }
int nvmlDeviceGetUtilizationRates(void *handle, unsigned rates[2]) {
    (void)handle;
    rates[0] = 97;
    rates[1] = 40;
    return 0;
}
