#include "device.h"
namespace device {
const Machine* ptx() { return nullptr; }
}
