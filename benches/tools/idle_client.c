// Opens COUNT connections and keeps them, silent, until the server ends.
//
//   idle_client HOST PORT COUNT
//
// Prints "CONNECTED" when all are open; exits 1 if one fails.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv) {
	if (argc != 4) {
		fprintf(stderr, "usage: idle_client HOST PORT COUNT\n");
		return 2;
	}
	struct sockaddr_in address;
	memset(&address, 0, sizeof address);
	address.sin_family = AF_INET;
	address.sin_port = htons((unsigned short)atoi(argv[2]));
	if (inet_pton(AF_INET, argv[1], &address.sin_addr) != 1)
		return 2;
	int count = atoi(argv[3]);
	int fd = -1;
	for (int i = 0; i < count; i++) {
		fd = socket(AF_INET, SOCK_STREAM, 0);
		if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
			perror("connect");
			return 1;
		}
	}
	puts("CONNECTED");
	fflush(stdout);
	char byte;
	while (read(fd, &byte, 1) > 0) {
	}
	return 0;
}
